"""The bytes of one file on their way to one reader.

Measured on loopback under uvicorn with uvloop, CPU s per GB: 512 KiB inline 0.30, 256 KiB 0.40, ``sendfile`` on a copy of the
transport's socket 0.30, Starlette's ``FileResponse`` (a thread hop per 64 KiB) 2.1; so nothing is gained by reaching behind uvicorn.
Inline must not mean blocking: pages already in memory are read on the event loop, a cold read goes to a thread in larger pieces.
``mmap`` would save the copy and turn a truncated file into a SIGBUS of the whole server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

WARM_CHUNK_BYTES = 512 * 1024
COLD_CHUNK_BYTES = 1024 * 1024
STALL_SECONDS = 120.0
"""Longest time one chunk may take: a reader below 8 KiB/s is let go (P19)."""
NOWAIT = getattr(os, "RWF_NOWAIT", 0)
COLD = {errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


class ReaderGone(Exception):
    """Nobody listens any more."""


class FileDelivery(Response):
    """An ASGI response that owns ``descriptor`` and closes it. Unlinking the file midway is harmless: the descriptor holds it."""

    def __init__(
        self,
        descriptor: int,
        first: int,
        length: int,
        *,
        status: int,
        headers: list[tuple[bytes, bytes]],
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        super().__init__(status_code=status)
        self.raw_headers = [*headers, (b"content-length", b"%d" % length)]
        self._descriptor = descriptor
        self._first = first
        self._length = length
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or self._length == 0:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            with contextlib.suppress(ReaderGone):
                await self._send_bytes(send, gone, abort_of(scope))
        finally:
            os.close(self._descriptor)
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _send_bytes(self, send: Send, gone: asyncio.Task[None], abort: Callable[[], None]) -> None:
        offset, remaining = self._first, self._length
        while remaining:
            if gone.done():
                raise ReaderGone
            if _is_warm(self._descriptor, offset + min(WARM_CHUNK_BYTES, remaining) - 1):
                chunk = os.pread(self._descriptor, min(WARM_CHUNK_BYTES, remaining), offset)
            else:
                chunk = await asyncio.to_thread(os.pread, self._descriptor, min(COLD_CHUNK_BYTES, remaining), offset)
            if not chunk:  # the file shrank under us: cut, so that the reader sees a short answer and not a wrong one
                abort()
                raise ReaderGone
            offset += len(chunk)
            remaining -= len(chunk)
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await send({"type": "http.response.body", "body": chunk, "more_body": remaining > 0})
            except TimeoutError:
                abort()
                raise ReaderGone from None


def _is_warm(descriptor: int, offset: int) -> bool:
    """Whether the page at ``offset`` is in memory; the kernel's read-ahead has then brought those before it, too.

    False where the file system cannot tell (tmpfs, NFS).

    One byte is asked for because ``preadv`` needs a buffer of its own, and clearing a whole chunk's costs more than reading them.
    """
    if not NOWAIT:
        return False
    try:
        return os.preadv(descriptor, [bytearray(1)], offset, NOWAIT) == 1
    except OSError as error:
        if error.errno in COLD:
            return False
        raise


async def wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def abort_of(scope: Scope) -> Callable[[], None]:
    """How to drop the connection at once; a graceful close would wait for the stalled reader (see ``protocols.py``)."""
    extension = scope.get("extensions", {}).get("vasset.abort")
    if extension is None:
        return _raise_gone
    abort: Callable[[], None] = extension["abort"]
    return abort


def _raise_gone() -> None:
    raise ConnectionAbortedError("the reader stalled")
