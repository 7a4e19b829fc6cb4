"""Reconciling a disk with a database over many files, beside ``find -newermt``.

    python -m benchmarks.engine.evict [--files 1000000] [--repetitions 5] [--folder DIR]

Creates the files once (about 8 s a million in memory-backed storage), measures interleaved, removes them again and prints one
JSON object. `find` asks the kernel about every file; the engine asks only about names the database does not know, on all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vasset import _engine

PER_FOLDER = 1000
STRAYS = 100


def create(root: Path, count: int) -> list[str]:
    """``count`` empty files in folders of a thousand; answers their relative paths."""
    paths = []
    for folder in range((count + PER_FOLDER - 1) // PER_FOLDER):
        name = f"{folder:05d}"
        (root / name).mkdir()
        descriptor = os.open(root / name, os.O_RDONLY | os.O_DIRECTORY)
        for file in range(min(PER_FOLDER, count - folder * PER_FOLDER)):
            title = f"A video title of usual length {file}.mp4"
            os.close(os.open(title, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=descriptor))
            paths.append(f"{name}/{title}")
        os.close(descriptor)
    return paths


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds, children included."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    wall, processor = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - wall, cpu() - processor


def measure(root: Path, count: int, repetitions: int) -> dict[str, object]:
    paths = create(root, count)
    known, strays = paths[STRAYS:], set(paths[:STRAYS])
    later = int(time.time()) + 3600
    find = ["find", str(root), "-newermt", f"@{later}", "-print"]

    def by_find() -> None:
        subprocess.run(find, check=True, stdout=subprocess.DEVNULL)

    def by_engine() -> None:
        found = {path for path, _, _ in _engine.find_unknown_files(root, known, before=later)}
        assert found == strays, "the scan is wrong"

    def from_nothing() -> None:
        _engine.find_unknown_files(root, (), before=0)

    rows: dict[str, list[tuple[float, float]]] = {"find": [], "engine": [], "engine_without_index": []}
    by_find()  # both start with a warm directory cache
    for _ in range(repetitions):
        rows["find"].append(timed(by_find))
        rows["engine"].append(timed(by_engine))
        rows["engine_without_index"].append(timed(from_nothing))
    ratios = [ours[0] / theirs[0] for ours, theirs in zip(rows["engine"], rows["find"], strict=True)]
    return {
        "files": count,
        "repetitions": repetitions,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "command": " ".join(find).replace(str(root), "DIR"),
        "wall_seconds": {name: round(statistics.median(row[0] for row in taken), 3) for name, taken in rows.items()},
        "cpu_seconds": {name: round(statistics.median(row[1] for row in taken), 3) for name, taken in rows.items()},
        "ratio_to_find": {
            "median": round(statistics.median(ratios), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="vasset-evict-", dir=arguments.folder))
    try:
        print(json.dumps(measure(root, arguments.files, arguments.repetitions), indent=2))
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
