"""uvicorn's protocols with the bounds it lacks: number of connections, size and time of request heads, and a way to drop a stalled one.

uvicorn 0.54 limits neither with httptools, and closes gracefully, which waits for a reader that never reads.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 15.0
SEND_BUFFER_BYTES = 128 * 1024


class HttpProtocol(HttpToolsProtocol):
    """431 for a head over 32 KiB, silence for 15 s before a complete head ends the connection."""

    _head_bytes = 0
    _in_head = True
    _head_is_too_large = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.config.door.enter(transport, self.client[0] if self.client else None):  # type: ignore[attr-defined]  # ServerConfig
            transport.abort()
            return
        self._head_timer = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self.config.door.leave(self.transport)  # type: ignore[attr-defined]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        if self._head_is_too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self.scope["extensions"] = {"vasset.abort": {"abort": self.transport.abort}}

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES:
            self._head_is_too_large = True
            raise ValueError("the request head is too large")  # ends the parser; send_400_response comes next
        self._in_head = False
        self._head_bytes = 0
        self.config.door.speaks(self.transport)  # type: ignore[attr-defined]
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self.config.door.falls_silent(self.transport)  # type: ignore[attr-defined]
        super().on_response_complete()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Small kernel buffers, and an abrupt end for a peer that answers no ping."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.config.door.leave(self.transport)  # type: ignore[attr-defined]  # entered before it was upgraded
        super().connection_lost(exc)

    async def run_asgi(self) -> None:
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions["vasset.abort"] = {"abort": self.transport.abort}
        await super().run_asgi()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()
