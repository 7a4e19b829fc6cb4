"""The bytes of one file on their way to one reader.

Measured on loopback, uvicorn with uvloop (``benchmarks/platform``): reading 256 KiB inline costs less than half of Starlette's
thread hop per 64 KiB. Inline must not mean blocking, so pages already in memory are read with ``RWF_NOWAIT`` and only a cold
read goes to a thread. ``mmap`` would save the copy and turn a truncated file into a SIGBUS of the whole server.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

CHUNK_BYTES = 256 * 1024
STALL_SECONDS = 120.0
"""Longest time one chunk may take: a reader below 2 KiB/s is let go (P19)."""
NOWAIT = getattr(os, "RWF_NOWAIT", 0)
COLD = {errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


Buffer = bytes | bytearray | memoryview


class ReaderGone(Exception):
    """Nobody listens any more."""


def open_file(path: Path) -> int:
    """A descriptor of a regular file, never through a symlink. Raises ``OSError``."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)


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
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD" or self._length == 0:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            with contextlib.suppress(ReaderGone):
                await self._send_bytes(send, gone, _abort_of(scope))
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
            chunk: Buffer | None = _read_warm(self._descriptor, min(CHUNK_BYTES, remaining), offset)
            if chunk is None:
                chunk = await asyncio.to_thread(os.pread, self._descriptor, min(CHUNK_BYTES, remaining), offset)
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


def _read_warm(descriptor: int, length: int, offset: int) -> Buffer | None:
    """What the page cache has at ``offset``; None when a disk would have to be waited for, or the system cannot tell."""
    if not NOWAIT:
        return None
    buffer = bytearray(length)
    try:
        count = os.preadv(descriptor, [buffer], offset, NOWAIT)
    except OSError as error:
        if error.errno in COLD:
            return None
        raise
    return buffer if count == length else memoryview(buffer)[:count]


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _abort_of(scope: Scope) -> Callable[[], None]:
    """How to drop the connection at once; a graceful close would wait for the stalled reader (see ``protocols.py``)."""
    extension = scope.get("extensions", {}).get("vasset.abort")
    if extension is None:
        return _raise_gone
    abort: Callable[[], None] = extension["abort"]
    return abort


def _raise_gone() -> None:
    raise ConnectionAbortedError("the reader stalled")
