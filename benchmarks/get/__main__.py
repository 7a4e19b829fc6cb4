"""``python -m benchmarks.get [--repetitions N] [--only TEXT]``: `vasset get` beside yt-dlp of the same environment, into ``results/get.json``.

Both read pages of our own by yt-dlp's generic extractor and leave one file on a disk's file system; the files are compared
outside the measured time. Each repetition runs both, the other one first each time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.engine.origin import Origin, running_origin
from benchmarks.engine.peers import REPOSITORY
from benchmarks.get import films
from benchmarks.platform.record import RESULTS as PLATFORM_RESULTS
from benchmarks.platform.record import Figure, machine, write

RESULTS = PLATFORM_RESULTS.with_name("get.json")
CACHE = REPOSITORY / ".cache"
COMMAND = "python -m benchmarks.get"
METRICS = ("wall", "CPU")
GOAL = 1.0
BIN = Path(sys.executable).parent
TOOLS = {
    "vasset": [str(BIN / "vasset"), "get", "--json", "-o", "."],
    "yt-dlp": [str(BIN / "yt-dlp"), "-q", "--ignore-config", "--merge-output-format", "mp4", "-o", "%(title)s.%(ext)s"],
}
LONGEST_SECONDS = 180.0
Seconds = dict[str, float]


def once(tool: str, origin: Origin, film: films.Watched, out: Path) -> Seconds:
    """Into an empty folder; a wrong file ends the run."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()  # nobody pays for writing back what the tool before left
    command = [sys.executable, "-m", "benchmarks.get.timed", *TOOLS[tool], origin.url(film.address)]
    found = {**os.environ, "VASSET_EGRESS_ALLOW": "127.0.0.1", "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        command, cwd=out, env=found, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
    )
    left = list(out.iterdir())
    if ended.returncode != 0 or len(left) != 1 or not film.check(left[0]):
        raise SystemExit(f"{tool} left {left} of {film.name} with {ended.returncode}: {ended.stderr[-500:]}")
    taken: Seconds = json.loads(ended.stdout)
    return taken


def measure(origin: Origin, film: films.Watched, out: Path, repetitions: int) -> list[Figure]:
    taken: dict[str, list[Seconds]] = {tool: [] for tool in TOOLS}
    for repetition in range(-1, repetitions):
        order = list(TOOLS) if repetition % 2 else list(reversed(TOOLS))
        for tool in order:
            seconds = once(tool, origin, film, out)
            if repetition >= 0:  # the first is for the page cache and the compiled modules
                taken[tool].append(seconds)
    figures = []
    for metric in METRICS:
        ours, theirs = ([seconds[metric] for seconds in taken[tool]] for tool in TOOLS)
        ratios = tuple(our / their for our, their in zip(ours, theirs, strict=True))
        figures.append(Figure(f"{film.name}: {metric} / yt-dlp", "ratio", ratios, GOAL if metric == "wall" else None))
        for tool in TOOLS:
            values = tuple(seconds[metric] for seconds in taken[tool])
            figures.append(Figure(f"{film.name}: {metric}, {tool}", "s", values))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--only", metavar="TEXT", help="addresses whose name contains it; the others' figures are kept")
    options = parser.parse_args()
    where = machine(packages=("yt-dlp", "pydantic", "typer"))
    CACHE.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-get-", dir=CACHE) as folder,
        running_origin(Path(folder)) as origin,
    ):
        if options.only is None:
            RESULTS.unlink(missing_ok=True)
        for film in films.make(origin.root):
            if options.only is not None and options.only not in film.name:
                continue
            found = measure(origin, film, Path(folder) / "out", options.repetitions)
            for figure in found:
                print(figure.line(), flush=True)
            write(found, COMMAND, {**where, "load_after": os.getloadavg()[0]}, RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
