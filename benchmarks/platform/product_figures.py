"""What a user of ``vasset serve`` notices: its start, its memory, how soon a download begins, a burst, and the API beside downloads."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.engine.origin import Origin
from benchmarks.platform import api
from benchmarks.platform.downloads import Client, client_of
from benchmarks.platform.many_files import HEAD, add_files
from benchmarks.platform.product import Product, running_product
from benchmarks.platform.record import Figure

SUBMISSIONS = 30
BURST = 1_000
BURST_CONNECTIONS = 32
RUNNING = 10
RUNNING_BYTES = 160 * 2**20
RUNNING_RATE = 128 * 2**20
SMALL_BYTES = 64 * 1024


def starts(folder: Path, *, rounds: int) -> list[Figure]:
    """Each start is of a new process; only the first of all makes the database."""
    ready, server, together = [], [], []
    for _ in range(rounds):
        with running_product(folder) as product:
            ready.append(product.ready_seconds)
            product.wait_until_warm()
            server.append(product.resident_mib())
            together.append(product.tree_mib())
    return [
        Figure("start: command to GET /readyz", "s", tuple(ready), 2.0),
        Figure("idle memory: server process", "MiB", tuple(server), 100.0),
        Figure("idle memory: with its children, yt-dlp loaded", "MiB", tuple(together), 220.0),
    ]


@dataclass(slots=True)
class TimedOrigin:
    """Serves one small file under every name and remembers when each was asked for: first by yt-dlp, then by the engine."""

    asked: dict[str, list[float]] = field(default_factory=dict)
    body: bytes = HEAD + bytes(SMALL_BYTES - len(HEAD))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b'HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n' % len(self.body)
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                name = request.split(b" ", 2)[1].decode()
                self.asked.setdefault(name.rpartition("/")[2], []).append(time.perf_counter())
                writer.write(head + self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()  # cancelled with the measurement


async def first_bytes(product: Product) -> list[Figure]:
    """One submission after the other, so that each finds a warm child and an idle server."""
    origin = TimedOrigin()
    server = await asyncio.start_server(origin.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    page, engine = [], []
    async with server, client_of(product) as client:
        for number in range(SUBMISSIONS + 2):
            name = f"{number}.mp4"
            submitted = time.perf_counter()
            task_id = await client.submit(f"http://127.0.0.1:{port}/{name}")
            await client.completed([task_id])
            first, *later = origin.asked[name]
            if number >= 2:
                page.append(1000 * (first - submitted))
                engine.append(1000 * (later[0] - submitted))
    return [
        Figure("submit to first byte asked: by the extraction", "ms", _quartiles(page)),
        Figure("submit to first byte asked: by the engine, extraction included", "ms", _quartiles(engine), 150.0),
    ]


def _quartiles(values: list[float]) -> tuple[float, ...]:
    """The quartiles: their median is the values' P50, their spread the middle half."""
    return tuple(statistics.quantiles(values, n=4))


async def burst(product: Product, origin: Origin) -> list[Figure]:
    """A thousand downloads submitted as fast as they are accepted, while the workers run those accepted before."""
    urls = add_files(origin, "small", count=BURST, size=SMALL_BYTES)
    async with client_of(product, connections=BURST_CONNECTIONS) as client:
        before, started = product.own_cpu_seconds(), time.perf_counter()
        task_ids = await client.submit_all(urls)
        accepted, used = time.perf_counter() - started, product.own_cpu_seconds() - before
        await client.completed(task_ids)
        completed = time.perf_counter() - started
    return [
        Figure(f"burst of {BURST} submissions: all accepted", "s", (accepted,), BURST / 300),
        Figure(f"burst of {BURST} submissions: all completed", "s", (completed,)),
        Figure(f"burst of {BURST} submissions: server CPU until accepted", "ms each", (1000 * used / BURST,)),
    ]


async def beside_downloads(product: Product, origin: Origin, *, rounds: int) -> list[Figure]:
    """200 requests a second for one task while ten downloads share ``RUNNING_RATE``, so that none ends before the measurement does."""
    add_files(origin, "running", count=RUNNING * rounds, size=RUNNING_BYTES)
    p95, p99 = [], []
    async with client_of(product) as client:
        for number in range(rounds):
            mine = range(RUNNING * number, RUNNING * (number + 1))
            task_ids = await client.submit_all([origin.url(f"running-{each}.mp4") for each in mine])
            await _all_download(client, task_ids)
            payload = api.request(product, "GET", f"/api/v1/downloads/{task_ids[0]}")
            _, late, latest = await api.steady(product, payload, seconds=2.0)
            if client.watched.ended.keys() & set(task_ids):
                raise RuntimeError("a download ended before the measurement: it was not beside ten")
            p95.append(late)
            p99.append(latest)
            await client.completed(task_ids)
    return [
        Figure(
            f"GET at {api.STEADY_RATE}/s beside {RUNNING} downloads at 128 MiB/s together: P95", "ms", tuple(p95), 50.0
        ),
        Figure(f"GET at {api.STEADY_RATE}/s beside {RUNNING} downloads at 128 MiB/s together: P99", "ms", tuple(p99)),
    ]


async def _all_download(client: Client, task_ids: list[str]) -> None:
    while not client.watched.downloading >= set(task_ids):
        client.watched.changed.clear()
        async with asyncio.timeout(30):
            await client.watched.changed.wait()
