"""``python -m benchmarks.scale [--quick]``: the same requests over databases of every size; writes ``benchmarks/results/scale.json``.

The same user asks a gateway over a small database (a page full of downloads: 300) and gateways over 10^4, 10^5 and 10^6 downloads of a thousand users, a tenth of which are
that user's own. Requests go to them by turns, so that whatever the machine does meanwhile it does to all.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from benchmarks.platform import record
from benchmarks.platform.record import Figure
from tests.support.databases import postgres_server, sqlite_url
from tests.support.gateway import RunningGateway, User, running_gateway
from tests.support.many_rows import fill
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.migrate import migrate
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tasks import SqlTaskStore

RESULTS = record.RESULTS.with_name("scale.json")
USERS = 1_000
Asking = Callable[[], Awaitable[object]]
PATHS = (
    "/api/v1/downloads",
    "/api/v1/downloads?status=failed",
    "/api/v1/history",
    "/api/v1/stats",
    "/api/v1/quota",
    "/api/v1/auth/me",
)
DOWNLOAD = {"url": "https://site.test/v/1", "mode": "quick_download", "quality": "best", "format": "mp4"}


async def main(quick: bool) -> list[Figure]:
    sizes = (300, 2_000, 20_000) if quick else (300, 10_000, 100_000, 1_000_000)
    queues = (100, 2_000) if quick else (100, 100_000)
    rounds = 20 if quick else 150
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        for kind in ("SQLite", "PostgreSQL"):
            place = Path(folder) / kind
            place.mkdir()
            url = _urls(place, servers if kind == "PostgreSQL" else None)
            figures += await _requests(kind, place, url, sizes, rounds)
            figures += await _claims(kind, url, queues, rounds)
    return figures


def _urls(place: Path, servers: ExitStack | None) -> Callable[[str], str]:
    if servers is None:
        return lambda name: sqlite_url(place / f"{name}.db")
    base = servers.enter_context(postgres_server()).url
    return lambda name: f"{base.rpartition('/')[0]}/{name}"


async def _requests(
    kind: str, place: Path, url: Callable[[str], str], sizes: tuple[int, ...], rounds: int
) -> list[Figure]:
    async with AsyncExitStack() as running:
        asked: dict[str, dict[int, Asking]] = {}
        for size in sizes:
            name = f"rows{size}"
            await _created(kind, url, name)
            gateway = await running.enter_async_context(
                running_gateway(place / name, database_url=url(name), requests_per_minute=10**9, daily_limit_free=10**6)
            )
            user = await gateway.sign_up()
            await fill(gateway.database, downloads=size, users=USERS)
            for path in PATHS:
                asked.setdefault(f"GET {path.removeprefix('/api/v1')}", {})[size] = _get(gateway, user, path)
            asked.setdefault("POST /download", {})[size] = _post(gateway, user)
        return [
            figure
            for name, by_size in asked.items()
            for figure in await _by_turns(f"{kind}: {name}", by_size, rounds, "downloads")
        ]


async def _claims(kind: str, url: Callable[[str], str], queues: tuple[int, ...], rounds: int) -> list[Figure]:
    """The claim of a worker out of a short queue and out of a long one, both of as many users as the shorter has tasks."""
    async with AsyncExitStack() as open_databases:
        asked: dict[int, Asking] = {}
        for queued in queues:
            name = f"queue{queued}"
            await _created(kind, url, name)
            database = open_database(url(name))
            open_databases.push_async_callback(database.close)
            await migrate(database)
            await fill(database, downloads=0, users=USERS, queued=queued)
            asked[queued] = _claim(database)
        return await _by_turns(f"{kind}: claim", asked, min(rounds, queues[0] - 10), "queued")


async def _by_turns(name: str, by_size: dict[int, Asking], rounds: int, of_what: str) -> list[Figure]:
    taken: dict[int, list[float]] = {size: [] for size in by_size}
    for turn in range(rounds + 5):
        for size, ask in by_size.items():
            started = time.perf_counter()
            await ask()
            if turn >= 5:  # connections and prepared statements are made by then
                taken[size].append(1000 * (time.perf_counter() - started))
    least = min(by_size)
    base_p50, base_p95 = statistics.median(taken[least]), _p95(taken[least])
    figures = []
    for size, values in taken.items():
        p50, p95 = statistics.median(values), _p95(values)
        label = f"{name}, {size} {of_what}"
        figures.append(Figure(f"{label}: P50", "ms", (p50,), None if size == least else 2 * base_p50))
        figures.append(Figure(f"{label}: P95", "ms", (p95,), None if size == least else 3 * base_p95))
    return figures


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _get(gateway: RunningGateway, user: User, path: str) -> Asking:
    async def ask() -> None:
        status, _ = await gateway.call("GET", path, user)
        assert status == 200, path

    return ask


def _post(gateway: RunningGateway, user: User) -> Asking:
    async def ask() -> None:
        status, answer = await gateway.call("POST", "/api/v1/download", user, json=DOWNLOAD)
        assert status == 202, answer

    return ask


def _claim(database: Database) -> Asking:
    store = SqlTaskStore(database, TaskPolicy())
    numbers = iter(range(10**6))

    async def ask() -> None:
        lease = await store.claim_next(worker=f"w{next(numbers)}", lease_seconds=600, per_user_limit=8)
        assert lease is not None

    return ask


async def _created(kind: str, url: Callable[[str], str], name: str) -> None:
    if kind != "PostgreSQL":
        return
    import asyncpg

    server = url("postgres").replace("postgresql+asyncpg", "postgresql")
    connection = await asyncpg.connect(server)
    await connection.execute(f'CREATE DATABASE "{name}"')
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small databases and few rounds; writes nothing")
    options = parser.parse_args()
    where = record.machine()
    found = asyncio.run(main(options.quick))
    for figure in found:
        sys.stdout.write(figure.line() + "\n")
    if not options.quick:
        record.write(found, "python -m benchmarks.scale", where, RESULTS)
    sys.exit(0)
