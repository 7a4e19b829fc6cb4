"""A client that costs the machine as little as possible: keep-alive connections, requests built once, answers barely read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

JSON = dict[str, object]


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head[9:12]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


def request(token: str, method: str, path: str, body: JSON | None = None, *, key: str | None = None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    if key is not None:
        head += f"Idempotency-Key: {key}\r\n"
    if body is not None:
        head += "Content-Type: application/json\r\n"
    if method == "POST":
        head += f"Content-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


async def steady(
    port: int,
    requests: Sequence[bytes],
    *,
    rate: float,
    answered: Callable[[int, float, int, bytes], Awaitable[None] | None],
    connections: int = 32,
) -> None:
    """An open loop: requests leave when due whatever came before. ``answered`` gets number, moment it was due, status and body."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await Connection.open(port))

    async def one(number: int, due: float) -> None:
        connection = await idle.get()
        status, body = await connection.ask(requests[number])
        idle.put_nowait(connection)
        result = answered(number, due, status, body)
        if result is not None:
            await result

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(len(requests)):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(number, due))
    while not idle.empty():
        idle.get_nowait().close()


async def flat_out(port: int, requests: Sequence[bytes], *, connections: int) -> list[tuple[int, bytes]]:
    """Every request as fast as the connections carry them; answers in the order of the requests."""
    answers: list[tuple[int, bytes]] = [(0, b"")] * len(requests)
    opened = [await Connection.open(port) for _ in range(connections)]

    async def run(first: int) -> None:
        for number in range(first, len(requests), connections):
            answers[number] = await opened[first].ask(requests[number])

    await asyncio.gather(*(run(first) for first in range(connections)))
    for connection in opened:
        connection.close()
    return answers


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
