"""Many downloads in one Python process: memory, CPU, event loop, cancelling, limits. Into ``results/engine-tasks.json``.

    python -m benchmarks.engine.tasks [--repetitions 5] [--quick]

Every second task is slowed to 8 MiB/s a connection by the origin; the files come from sixteen loopback addresses, so that
the bound of 16 connections a host leaves room for the 256 in total.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.ballast import MEMORY, backed_memory
from benchmarks.engine import record
from benchmarks.engine.origin import HOSTS, MEBIBYTE, Origin, running_origin
from benchmarks.platform.record import Figure

COUNTS = (50, 200, 500)
FILE_MEBIBYTES = 8
BASE_KIB = 64 * 1024
TASK_KIB = 256
CANCELS = 100
RATE_WINDOW_SECONDS = 5.0
COMMAND = "python -m benchmarks.engine.tasks"


def child(mode: str, **given: Any) -> dict[str, Any]:
    """What a fresh process found out."""
    command = [sys.executable, "-m", "benchmarks.engine.task_child", mode, json.dumps(given)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    for left in Path(given["folder"]).iterdir():
        left.unlink()
    if ended.returncode != 0:
        raise SystemExit(f"{mode} failed: {ended.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def many_tasks(origin: Origin, out: Path, repetitions: int) -> list[Figure]:
    """One task of as many bytes as 50 stands beside them in every repetition."""
    origin.add_file("one.mp4", COUNTS[0] * FILE_MEBIBYTES * MEBIBYTE)
    origin.add_file("each.mp4", FILE_MEBIBYTES * MEBIBYTE)
    rows: dict[int, list[dict[str, float]]] = {count: [] for count in COUNTS}
    cpu: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(repetitions):
        one = child("tasks", urls=[origin.url("one.mp4")], folder=str(out))
        for count in COUNTS:
            urls = [
                origin.url("each.mp4", host=HOSTS[number % len(HOSTS)], pace="slow" if number % 2 else "")
                for number in range(count)
            ]
            found = child("tasks", urls=urls, folder=str(out))
            rows[count].append(found)
            cpu[count].append(found["cpu_seconds"] / count / (one["cpu_seconds"] / COUNTS[0]))
    figures = []
    for count, found_rows in rows.items():
        memory = tuple(row["memory_kib"] / 1024 for row in found_rows)
        figures += [
            Figure(
                f"{count} tasks: memory beyond the interpreter", "MiB", memory, (BASE_KIB + TASK_KIB * count) / 1024
            ),
            Figure(f"{count} tasks: CPU per byte / one task", "ratio", tuple(cpu[count]), 1.5),
            Figure(
                f"{count} tasks: event loop P99 lag",
                "ms",
                tuple(row["lag_p99_ms"] for row in found_rows),
                10.0 if count == COUNTS[0] else None,
            ),
        ]
    return figures


def cancelling(origin: Origin, out: Path, repetitions: int, count: int) -> list[Figure]:
    """Half of the tasks run at full speed, half against a slow origin, on 1, 4 or 16 connections, for a random time."""
    origin.add_file("long.mp4", 400 * MEBIBYTE)
    urls = [origin.url("long.mp4", pace="slow"), origin.url("long.mp4")]
    taken = [sorted(child("cancels", urls=urls, folder=str(out), count=count, seed=seed)["milliseconds"])
             for seed in range(repetitions)]  # fmt: skip
    return [
        Figure("cancel to silence: P50", "ms", tuple(row[len(row) // 2] for row in taken)),
        Figure("cancel to silence: P99", "ms", tuple(row[int(len(row) * 0.99)] for row in taken), 50.0),
    ]


def limits(origin: Origin, out: Path) -> list[Figure]:
    """20, then 40, then 10 MiB/s for eight tasks that share one engine."""
    origin.add_file("steady.mp4", 100 * MEBIBYTE)
    asked = [20 * MEBIBYTE, 40 * MEBIBYTE, 10 * MEBIBYTE]
    found = child("rates", url=origin.url("steady.mp4"), folder=str(out), count=8, asked=asked,
                  seconds=RATE_WINDOW_SECONDS)  # fmt: skip
    off = tuple(abs(each - 1) * 100 for each in found["achieved"])
    return [
        Figure("rate limit, changed while running: off over 5 s", "%", off, 2.0),
        Figure("8 equal tasks under it: 1 - Jain index", "", tuple(1 - each for each in found["jain"]), 0.05),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one repetition, 20 cancels; writes nothing")
    options = parser.parse_args()
    repetitions = 1 if options.quick else options.repetitions
    where = record.circumstances()
    with (
        tempfile.TemporaryDirectory(prefix="vasset-bench-", dir=MEMORY if MEMORY.is_dir() else None) as folder,
        backed_memory(5120),
        running_origin(Path(folder)) as origin,
    ):
        out = Path(folder) / "out"
        out.mkdir()
        figures: list[Figure] = []
        figures += many_tasks(origin, out, repetitions)
        figures += cancelling(origin, out, repetitions, 20 if options.quick else CANCELS)
        figures += limits(origin, out)
    for figure in figures:
        print(figure.line())
    if not options.quick:
        record.save_campaign("tasks", figures, COMMAND, where)
    print(f"load at the end {os.getloadavg()[0]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
