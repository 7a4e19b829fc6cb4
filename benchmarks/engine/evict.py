"""Reconciling a disk with a database over many files, beside ``find -newermt``.

    python -m benchmarks.engine.evict [--files 1000000] [--repetitions 5] [--folder DIR]

Creates the files once (about 8 s a million in memory-backed storage), measures interleaved, removes them again and keeps the
figures in ``results/engine-evict.json``. `find` asks the kernel about every file; the engine asks only about names the database does not know, on all cores.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.engine import record
from benchmarks.platform.record import Figure
from vasset import _engine

DEFAULT_FILES = 1_000_000
PER_FOLDER = 1000
COMMAND = "python -m benchmarks.engine.evict"
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


def measure(root: Path, count: int, repetitions: int) -> list[Figure]:
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
    walls = {name: tuple(row[0] for row in taken) for name, taken in rows.items()}
    ratios = tuple(ours / theirs for ours, theirs in zip(walls["engine"], walls["find"], strict=True))
    by_name = {"find": f"{' '.join(find).replace(str(root), 'DIR')}", "engine": "find_unknown_files, all but 100 known",
               "engine_without_index": "find_unknown_files, none known"}  # fmt: skip
    figures = [Figure(f"{count:,} files: wall, vasset / find", "ratio", ratios, 0.5)]
    for name, taken in rows.items():
        figures.append(Figure(f"{count:,} files: wall, `{by_name[name]}`", "s", walls[name]))
        figures.append(Figure(f"{count:,} files: CPU, `{by_name[name]}`", "s", tuple(row[1] for row in taken)))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=DEFAULT_FILES)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm") if Path("/dev/shm").is_dir() else None)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="vasset-evict-", dir=arguments.folder))
    where = record.circumstances()
    try:
        figures = measure(root, arguments.files, arguments.repetitions)
        for figure in figures:
            print(figure.line())
        if arguments.files == DEFAULT_FILES:
            record.save_campaign("evict", figures, COMMAND, where)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
