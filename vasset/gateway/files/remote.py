"""The bytes of a file that lies on a worker's own disk, passed through (no shared folder).

The first piece is awaited before the answer begins, so that a worker that is away is an error and not a short file. A worker that
dies midway cuts the connection: a reader with ranges goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vasset.domain.errors import StorageFailed, VAssetError
from vasset.gateway.files.delivery import STALL_SECONDS, ReaderGone, abort_of, wait_for_disconnect


class RemoteDelivery(Response):
    """An ASGI response over an iterator of exactly ``length`` bytes, which it closes."""

    def __init__(
        self, pieces: AsyncIterator[bytes], length: int, *, status: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        super().__init__(status_code=status)
        self.raw_headers = [*headers, (b"content-length", b"%d" % length)]
        self._pieces = pieces
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(wait_for_disconnect(receive))
        try:
            first = await self._next_piece() if scope["method"] != "HEAD" and self._length else b""
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if not first:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            with contextlib.suppress(ReaderGone):
                await self._pass_on(first, send, gone, scope)
        finally:
            await self._pieces.aclose()  # type: ignore[attr-defined]  # an async generator
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _pass_on(self, piece: bytes, send: Send, gone: asyncio.Task[None], scope: Scope) -> None:
        abort, remaining = abort_of(scope), self._length
        while True:
            remaining -= len(piece)
            if gone.done():
                raise ReaderGone
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": remaining > 0})
                if remaining <= 0:
                    return
                piece = await self._next_piece()
            except (TimeoutError, VAssetError):
                abort()
                raise ReaderGone from None

    async def _next_piece(self) -> bytes:
        """Raises ``StorageFailed`` when the file ends early, or what the worker raised."""
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise StorageFailed("The stored file is shorter than it was; start the download again.") from None
