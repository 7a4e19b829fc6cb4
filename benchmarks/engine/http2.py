"""HTTP/1.1 against HTTP/2 for fragments over TLS, without and with a delay to the first byte: ``python -m benchmarks.engine.http2``.

Both sides are this engine with the same settings, interleaved in one run; curl with 16 transfers, which joins nothing, is there for scale.
Prints the table of ``docs/decisions/http2.md``.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.engine.origin import Origin, Pace, fragment_name, running_origin

PACES: tuple[Pace, ...] = ("", "late")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fragments", type=int, default=1_000)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vasset-http2-", dir="/dev/shm") as name:
        folder = Path(name)
        with running_origin(folder, http2=True) as origin:
            served = origin.add_fragments(options.fragments)
            print(
                f"| {options.fragments} fragments of 200 KiB | delay ms | wall s | spread | CPU s |\n|---|---|---|---|---|"
            )
            for pace in PACES:
                _compare(origin, pace, served.sha256, options.fragments, options.repetitions)


def _compare(origin: Origin, pace: Pace, sha256: str, count: int, repetitions: int) -> None:
    output = origin.folder / "out"
    vasset = [
        str(Path(sys.executable).with_name("vasset")),
        "fetch",
        "-q",
        origin.url("list.m3u8", tls=True, pace=pace),
        "-o",
        str(output / "film.ts"),
    ]
    curl = ["curl", "-s", "-Z", "--parallel-max", "16", "--cacert", str(origin.ca_file)]
    for index in range(count):
        curl += ["-o", str(output / str(index)), origin.url(fragment_name(index), tls=True, pace=pace)]
    commands = {
        "vasset, HTTP/1.1": [*vasset, "--http1"],
        "vasset, HTTP/2": vasset,
        "curl -Z 16, HTTP/1.1, not joined": [*curl, "--http1.1"],
        "curl -Z 16, HTTP/2, not joined": [*curl, "--http2"],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for repetition in range(repetitions + 1):
        for name, command in commands.items():
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir()
            measured = _run(command, origin)
            if name.startswith("vasset"):
                subprocess.run(
                    ["sha256sum", "-c", "--quiet"], input=f"{sha256}  {output / 'film.ts'}\n", text=True, check=True
                )
            if repetition:  # the first of each only warms
                found[name].append(measured)
    for name, runs in found.items():
        walls = [wall for wall, _ in runs]
        cpu = statistics.median(cpu for _, cpu in runs)
        spread = f"{min(walls):.2f}–{max(walls):.2f}"
        print(f"| {name} | {60 if pace else 0} | {statistics.median(walls):.2f} | {spread} | {cpu:.2f} |", flush=True)


def _run(command: list[str], origin: Origin) -> tuple[float, float]:
    """Wall and CPU seconds of the whole process."""
    environment = os.environ | {"VASSET_EGRESS_ALLOW": "127.0.0.1", "VASSET_CA_FILE": str(origin.ca_file)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
