"""uvicorn inside our own event loop: we own the signals, the socket and the moment of stopping."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

LAST_REQUESTS_SECONDS = 0.2


class HttpServer(uvicorn.Server):
    """``started_event`` is set when requests are accepted; ``stop`` lets open ones finish."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.started_event = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to the whole process, not to one of its servers

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.started_event.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """A connection that was accepted a moment ago has its request under way; uvicorn would close it unread."""
        for server in self.servers:
            server.close()
        if self.server_state.connections:
            await asyncio.sleep(LAST_REQUESTS_SECONDS)
        await super().shutdown(sockets)

    def stop(self) -> None:
        self.should_exit = True
