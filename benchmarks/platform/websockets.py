"""From ``ProgressBus.publish`` to the client's socket: two frames a second to each of many clients, and what a client costs."""

from __future__ import annotations

import asyncio
import json
import time

import aiohttp

from benchmarks.platform.measured_server import MeasuredServer
from benchmarks.platform.record import Figure


async def measure(server: MeasuredServer, *, clients: int, seconds: float, rounds: int) -> list[Figure]:
    runs = [await _run(server, clients, seconds) for _ in range(rounds)]
    what = f"WebSocket, {clients} clients x 2 frames/s"
    return [
        Figure(f"{what}: P50 publish to client", "ms", tuple(run[0] for run in runs), 2.0 if clients >= 1000 else None),
        Figure(
            f"{what}: P99 publish to client", "ms", tuple(run[1] for run in runs), 30.0 if clients >= 1000 else 50.0
        ),
        Figure(f"{what}: server CPU", "ms/frame", tuple(run[2] for run in runs)),
        Figure(f"{what}: server memory", "KiB/client", tuple(run[3] for run in runs), 64.0),
    ]


async def _run(server: MeasuredServer, clients: int, seconds: float) -> tuple[float, float, float, float]:
    """P50 and P99 in milliseconds, CPU milliseconds a frame, KiB a client."""
    before_kib = server.resident_kib()
    server.tell(f"frames {clients} {seconds}")
    tickets = (await asyncio.to_thread(server.hear))["tickets"]
    delays: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, json_serialize=json.dumps) as session:
        sockets = []
        for start in range(0, clients, 50):
            sockets += await asyncio.gather(
                *(_connect(session, server, ticket) for ticket in tickets[start : start + 50])
            )
        kib = (server.resident_kib() - before_kib) / clients
        readers = [asyncio.create_task(_collect(live, delays)) for live in sockets]
        before = server.cpu_seconds()
        server.tell("go")
        published = (await asyncio.to_thread(server.hear))["published"]
        used = server.cpu_seconds() - before
        await asyncio.sleep(0.5)  # the last frames are on their way
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await asyncio.gather(*(live.close() for live in sockets))
    if len(delays) < 0.98 * published:
        raise RuntimeError(f"only {len(delays)} of {published} frames arrived")
    delays.sort()
    return (1000 * delays[len(delays) // 2], 1000 * delays[int(len(delays) * 0.99)], 1000 * used / published, kib)


async def _connect(
    session: aiohttp.ClientSession, server: MeasuredServer, ticket: str
) -> aiohttp.ClientWebSocketResponse:
    live = await session.ws_connect(f"{server.base}/api/v1/ws", protocols=("vasset.v1", f"ticket.{ticket}"))
    await live.receive()
    return live


async def _collect(live: aiohttp.ClientWebSocketResponse, delays: list[float]) -> None:
    async for message in live:
        arrived = time.time()
        delays.append(arrived - json.loads(message.data)["task"]["timestamp"])
