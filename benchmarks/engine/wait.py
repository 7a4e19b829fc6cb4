"""A server that answers every request 204 after the same time, for nginx's ``auth_request``: a delay to the first byte."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

WAIT_SECONDS = 0.060
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


@contextmanager
def running_wait(seconds: float) -> Iterator[int]:
    """Answers its port. A thread of this process: it sleeps in the kernel while a measured program runs."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(_serving(seconds), "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, name="wait", daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _serving(seconds: float) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(seconds)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    return serve
