"""``python -m benchmarks.engine.task_child MODE JSON``: one measured process that drives the engine from Python.

It runs apart from the harness so that its memory and CPU are its own, and prints one JSON object. Nothing of the engine is
imported before the first look at memory: what is reported is beyond the interpreter.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vasset._engine import Engine, Handle

KIBIBYTE = 1024
TICK_SECONDS = 0.005
LONGEST_SECONDS = 150.0
QUIET_SECONDS = 0.05


def engine(**settings: Any) -> Engine:
    from vasset import _engine

    return _engine.Engine(egress_allow=["127.0.0.0/8"], **settings)


def request(url: str, target: Path, **options: Any) -> Any:
    from vasset import _engine

    return _engine.Request(url, str(target), **options)


async def tasks(urls: list[str], folder: Path) -> dict[str, Any]:
    """All of them at once: memory beyond the interpreter, CPU, and how late the event loop was meanwhile."""
    before = _memory_kib("VmRSS")
    started = engine()
    loop = asyncio.get_running_loop()
    running: dict[int, Handle] = {}
    all_ended = asyncio.Event()

    def drain() -> None:
        for number in started.drain_completions():
            outcome = running.pop(number).result()
            # So that 500 files need the room of those at work; giving 8 MiB of memory back takes 1.5 ms, which are not the engine's.
            loop.run_in_executor(None, Path(outcome.path).unlink)
        if not running:
            all_ended.set()

    lags: list[float] = []
    ticking = asyncio.create_task(_tick(lags))
    polling = asyncio.create_task(_poll(started))
    cpu, wall = _cpu_seconds(), time.perf_counter()
    for number, url in enumerate(urls):
        handle = started.submit(request(url, folder / f"{number}.mp4"))
        running[handle.id] = handle
    loop.add_reader(started.completion_fd(), drain)
    async with asyncio.timeout(LONGEST_SECONDS):
        await all_ended.wait()
    cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    loop.remove_reader(started.completion_fd())
    for task in (ticking, polling):
        task.cancel()
    memory = _memory_kib("VmHWM") - before
    started.close()
    lags.sort()
    return {
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "memory_kib": memory,
        "lag_p99_ms": lags[int(len(lags) * 0.99)] * 1000 if lags else 0.0,
        "lag_samples": len(lags),
    }


async def _tick(lags: list[float]) -> None:
    """How much later than asked for the loop runs us."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        lags.append(max(0.0, loop.time() - due))


async def _poll(started: Engine) -> None:
    """What a server does for its progress bars."""
    while True:
        started.snapshot()
        await asyncio.sleep(0.25)


def cancels(urls: list[str], folder: Path, count: int, seed: int) -> dict[str, Any]:
    """From `cancel` to silence: the task has ended, its sockets are closed, and nothing more is written, ever."""
    started = engine()
    chance = random.Random(seed)
    milliseconds = []
    for number in range(count):
        target = folder / f"{number}.mp4"
        handle = started.submit(request(chance.choice(urls), target, connections=chance.choice((1, 4, 16))))
        _until(partial(_has_received, handle, chance.randrange(1, 24 << 20)))
        if handle.done():
            raise SystemExit("a download ended before it could be cancelled")
        told = time.perf_counter()
        handle.cancel()
        _until(handle.done)
        _until(lambda: not _sockets())
        milliseconds.append((time.perf_counter() - told) * 1000)
        left = _traces(target)
        written = handle.snapshot().downloaded_bytes
        time.sleep(QUIET_SECONDS)
        if _traces(target) != left or handle.snapshot().downloaded_bytes != written or target.exists():
            raise SystemExit("something was written after a cancelled task had ended")
        for trace in folder.glob(f"{number}.mp4*"):
            trace.unlink()
    started.close()
    return {"milliseconds": milliseconds}


def rates(url: str, folder: Path, count: int, asked: list[int], seconds: float) -> dict[str, Any]:
    """Rate limits changed while `count` equal tasks run: what was achieved in each window, and how even the shares were."""
    started = engine(rate_limit=asked[0])
    handles = [started.submit(request(url, folder / f"{number}.mp4")) for number in range(count)]
    _until(lambda: all(handle.snapshot().downloaded_bytes > 0 for handle in handles))
    achieved, jain = [], []
    for limit in asked:
        started.set_limits(rate_limit=limit)
        time.sleep(0.5)
        began, before = time.perf_counter(), [handle.snapshot().downloaded_bytes for handle in handles]
        time.sleep(seconds)
        now, after = time.perf_counter(), [handle.snapshot().downloaded_bytes for handle in handles]
        shares = [late - early for early, late in zip(before, after, strict=True)]
        achieved.append(sum(shares) / (now - began) / limit)
        jain.append(sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)))
    started.close()
    return {"achieved": achieved, "jain": jain}


def _has_received(handle: Handle, wanted: int) -> bool:
    return handle.snapshot().downloaded_bytes >= wanted or handle.done()


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit("what was waited for never happened")
        time.sleep(0.0005)


def _sockets() -> int:
    """Open TCP sockets of this process."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += str(descriptor.readlink()).startswith("socket:")
        except OSError:
            continue
    return count


def _traces(target: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of the last write of everything the task left."""
    return sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in target.parent.glob("*.part*"))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def main(mode: str, given: dict[str, Any]) -> None:
    given["folder"] = Path(given["folder"])
    if mode == "tasks":
        found = asyncio.run(tasks(**given))
    else:
        found = cancels(**given) if mode == "cancels" else rates(**given)
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
