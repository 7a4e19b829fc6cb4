"""Many downloads with one, two and four workers: wall time, CPU and memory per task; and 50 files of 20 MB with one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.cluster.http import flat_out
from benchmarks.cluster.record import Figure
from benchmarks.cluster.running import Account, Measured
from benchmarks.cluster.tasks import Watched, submission, task_id_of

TASKS = (50, 200, 500)
SAMPLE_SECONDS = 0.25
CONNECTIONS = 8


@dataclass(slots=True)
class Cost:
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


async def measure_workers(
    measured: Measured, accounts: list[Account], watching: Watched, *, tasks: tuple[int, ...] = TASKS
) -> list[Figure]:
    """Starts with as many workers as the cluster has and drains half of them twice."""
    figures = []
    names = [name for name in measured.cluster.roles if name.startswith("downloader")]
    for workers in (4, 2, 1):
        for name in names[workers:]:
            await asyncio.to_thread(_drain, measured, name)
        del names[workers:]
        await run(measured, accounts, watching, "clip.mp4", 20 * workers)  # children are warm, pools connected
        for count in tasks:
            cost = await run(measured, accounts, watching, "clip.mp4", count)
            what = f"{count} downloads of 2 MiB, {workers} worker{'s' if workers > 1 else ''}"
            figures += [
                Figure(f"{what}: wall", "s", (cost.wall_seconds,)),
                Figure(f"{what}: CPU of all services", "s/task", (cost.cpu_seconds / count,)),
                Figure(f"{what}: memory of the workers above idle", "KiB/task", (1024 * cost.peak_mib / count,)),
            ]
    return figures


async def measure_films(measured: Measured, accounts: list[Account], watching: Watched, *, rounds: int) -> list[Figure]:
    """With whatever workers are left: one, after :func:`measure_workers`."""
    await run(measured, accounts, watching, "clip.mp4", 20)
    costs = [await run(measured, accounts, watching, "film.mp4", 50) for _ in range(rounds)]
    what = "50 files x 20 MB with one worker"
    return [
        Figure(f"{what}: submit until all are completed", "s", tuple(cost.wall_seconds for cost in costs), 8.0),
        Figure(f"{what}: CPU of all services", "s", tuple(cost.cpu_seconds for cost in costs), 10.0),
        Figure(f"{what}: memory of the worker above idle", "MiB", tuple(cost.peak_mib for cost in costs)),
    ]


async def run(measured: Measured, accounts: list[Account], watching: Watched, name: str, count: int) -> Cost:
    requests = [submission(measured, accounts[number % len(accounts)], name) for number in range(count)]
    workers = [
        role for role, state in measured.cluster.roles.items() if role.startswith("downloader") and state.process
    ]
    before = measured.cpu_seconds()
    async with _peak(measured, workers) as peak:
        started = time.perf_counter()
        answers = await flat_out(measured.port, requests, connections=CONNECTIONS)
        await watching.all_ended([task_id_of(*answer) for answer in answers], seconds=170)
        wall = time.perf_counter() - started
    return Cost(wall, measured.cpu_seconds() - before, peak[1] - peak[0])


@asynccontextmanager
async def _peak(measured: Measured, workers: list[str]) -> AsyncIterator[list[float]]:
    """Memory of the workers before, and the most of it since."""
    memory = [await asyncio.to_thread(measured.unshared_mib, workers)] * 2

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            memory[1] = max(memory[1], await asyncio.to_thread(measured.unshared_mib, workers))

    sampling = asyncio.create_task(sample())
    try:
        yield memory
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling


def _drain(measured: Measured, name: str) -> None:
    role = measured.cluster.roles[name]
    role.signal(signal.SIGTERM)
    role.wait()
