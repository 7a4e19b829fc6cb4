"""CPU of the server per request, four connections at full speed; latency of a steady 200 requests a second."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Protocol

from benchmarks.platform.measured_server import MeasuredServer
from benchmarks.platform.record import Figure

CONNECTIONS = 4
STEADY_RATE = 200


class Reachable(Protocol):
    """A server on loopback and an account on it."""

    @property
    def port(self) -> int: ...

    @property
    def token(self) -> str: ...


class Connection:
    """One keep-alive connection that costs the load generator as little as possible."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, server: Reachable) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port))

    async def ask(self, request: bytes) -> int:
        """The status of the answer, whose body is read and dropped."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


def request(server: Reachable, method: str, path: str, body: dict[str, object] | None = None) -> bytes:
    content = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


def cases(server: MeasuredServer) -> list[tuple[str, bytes, int, float | None]]:
    """Name, request, expected status, goal in milliseconds of CPU."""
    return [
        ("GET /api/v1/auth/me", request(server, "GET", "/api/v1/auth/me"), 200, 0.6),
        ("GET /api/v1/quota", request(server, "GET", "/api/v1/quota"), 200, 0.6),
        ("GET /api/v1/downloads/{task_id}", request(server, "GET", f"/api/v1/downloads/{server.task_id}"), 200, 0.6),
        ("POST /api/v1/parse, from cache", request(server, "POST", "/api/v1/parse", {"url": "https://site.test/v/1"}), 200, 1.0),
        ("POST /api/v1/download", request(server, "POST", "/api/v1/download", {"url": "https://site.test/v/1"}), 202, None),
        ("GET /healthz", request(server, "GET", "/healthz"), 200, None),
    ]  # fmt: skip


async def measure(server: MeasuredServer, *, rounds: int, requests: int) -> list[Figure]:
    figures = []
    for name, payload, status, goal in cases(server):
        count = min(requests, 400) if status == 202 else requests  # a user may have a thousand unfinished downloads
        if status == 202:
            values = [await _cpu_milliseconds(server, payload, status, count // 2)]
        else:
            await _cpu_milliseconds(server, payload, status, 200)
            values = [await _cpu_milliseconds(server, payload, status, count) for _ in range(rounds)]
        figures.append(Figure(f"{name}: server CPU", "ms/request", tuple(values), goal))
    quick = request(server, "GET", f"/api/v1/downloads/{server.task_id}")
    latencies = [await steady(server, quick, seconds=3.0) for _ in range(rounds)]
    figures.append(Figure(f"GET at {STEADY_RATE}/s: P50", "ms", tuple(p50 for p50, _, _ in latencies)))
    figures.append(Figure(f"GET at {STEADY_RATE}/s: P95", "ms", tuple(p95 for _, p95, _ in latencies), 50.0))
    figures.append(Figure(f"GET at {STEADY_RATE}/s: P99", "ms", tuple(p99 for _, _, p99 in latencies), 150.0))
    return figures


async def _cpu_milliseconds(server: MeasuredServer, payload: bytes, status: int, count: int) -> float:
    connections = [await Connection.open(server) for _ in range(CONNECTIONS)]
    before = server.cpu_seconds()

    async def run(connection: Connection) -> None:
        for _ in range(count // CONNECTIONS):
            found = await connection.ask(payload)
            if found != status:
                raise RuntimeError(f"expected {status}, the server answered {found}")

    await asyncio.gather(*(run(connection) for connection in connections))
    used = server.cpu_seconds() - before
    for connection in connections:
        connection.close()
    return 1000 * used / (count // CONNECTIONS * CONNECTIONS)


async def steady(server: Reachable, payload: bytes, *, seconds: float) -> tuple[float, float, float]:
    """Percentiles of an open loop: a late answer delays nobody, and its wait counts from when it should have been sent."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(32):
        idle.put_nowait(await Connection.open(server))
    taken: list[float] = []

    async def one(due: float) -> None:
        connection = await idle.get()
        await connection.ask(payload)
        idle.put_nowait(connection)
        taken.append(time.perf_counter() - due)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * STEADY_RATE)):
            due = started + number / STEADY_RATE
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(due))
    while not idle.empty():
        idle.get_nowait().close()
    taken.sort()
    return tuple(1000 * taken[int(len(taken) * share)] for share in (0.50, 0.95, 0.99))  # type: ignore[return-value]
