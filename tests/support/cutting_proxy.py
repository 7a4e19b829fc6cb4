"""A TCP proxy in front of a server that cuts, refuses, delays, throttles, slices or black-holes on command (toxiproxy's ideas, in one file)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CuttingProxy:
    """``port`` leads to ``target_port``. Switches take effect at once, for open connections too."""

    def __init__(self, target_port: int = 0) -> None:
        self.target_port = target_port
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.StreamWriter] = set()
        self._accepting: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self.delay_seconds = 0.0
        self.bytes_per_second: float | None = None
        self.cut_after_bytes: int | None = None
        self.slice_bytes: int | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._flowing.set()
        self.cut()
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*self._accepting, return_exceptions=True)

    def cut(self) -> None:
        """Reset every open connection; new ones are accepted."""
        for link in list(self._links):
            link.transport.abort()

    def refuse(self) -> None:
        """Cut, and hang up on every new connection until :meth:`heal`."""
        self._refusing = True
        self.cut()

    def black_hole(self) -> None:
        """Keep connections open and deliver nothing until :meth:`heal`."""
        self._flowing.clear()

    def heal(self) -> None:
        self._refusing = False
        self.delay_seconds = 0.0
        self.bytes_per_second = self.cut_after_bytes = self.slice_bytes = None
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepting = asyncio.current_task()
        assert accepting is not None
        self._accepting.add(accepting)
        accepting.add_done_callback(self._accepting.discard)
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._links |= {writer, far_writer}
        try:
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            self._links -= {writer, far_writer}
            for link in (writer, far_writer):
                link.transport.abort()
                with contextlib.suppress(OSError):
                    await link.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                for piece in self._pieces(data):
                    await self._flowing.wait()
                    await self._dawdle(len(piece))
                    passed += len(piece)
                    if self.cut_after_bytes is not None and passed > self.cut_after_bytes:
                        sink.write(piece[: max(0, len(piece) - (passed - self.cut_after_bytes))])
                        self.cut_after_bytes = None  # one victim, in the middle of an answer
                        await sink.drain()
                        sink.transport.abort()
                        return
                    sink.write(piece)
                    await sink.drain()
        sink.transport.abort()

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self.slice_bytes or len(data)
        return [data[start : start + size] for start in range(0, len(data), size)]

    async def _dawdle(self, size: int) -> None:
        seconds = self.delay_seconds + (size / self.bytes_per_second if self.bytes_per_second else 0.0)
        if seconds:
            await asyncio.sleep(seconds)


@asynccontextmanager
async def cutting_proxy(target_port: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
