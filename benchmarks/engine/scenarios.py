"""What is measured: each scenario, its peers, and the ratios promised for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.engine.origin import MEBIBYTE, Origin, Served
from benchmarks.engine.peers import LIMIT, Peer, fragments, single_file

MOST_OF_THE_LIMIT = 1.10
LONGEST_SECONDS = 180.0
Metric = Literal["CPU", "wall"]


@dataclass(frozen=True, slots=True)
class Promise:
    """``vasset`` divided by ``peer`` is to be at most ``goal``."""

    metric: Metric
    peer: str
    goal: float


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    served: Served
    peers: Sequence[Peer]
    promises: tuple[Promise, ...] = ()
    note: str = ""


@dataclass(slots=True)
class Taken:
    """Seconds and write calls of one tool, one entry a repetition."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    writes: list[int] = field(default_factory=list)

    def of(self, metric: Metric) -> list[float]:
        return self.cpu if metric == "CPU" else self.wall


def scenarios(origin: Origin, disk: Path) -> list[Scenario]:
    """``disk`` is a folder on the file system the repository is on, for what differs from memory-backed storage."""
    large = origin.add_file("large.mp4", 1024 * MEBIBYTE)
    small = origin.add_file("small.mp4", 100 * MEBIBYTE)
    listed = origin.add_fragments(1000)
    plain = (
        *(Promise("CPU", peer, goal) for peer, goal in (("curl", 0.60), ("aria2", 0.45), ("hf_transfer", 0.45))),
        Promise("CPU", LIMIT, MOST_OF_THE_LIMIT),
    )
    secure = (Promise("CPU", "curl", 0.85), Promise("CPU", LIMIT, MOST_OF_THE_LIMIT))
    on_disk = (
        f"The file goes to {file_system(disk)} through the page cache, written back before the next tool starts; `vasset` syncs its"
        " own, the others do not."
    )
    whole = []
    # What users have first: memory shows what the engine costs, a disk's file system what a download costs.
    for place, out, note in (("disk", disk / "out", on_disk), ("memory", None, "")):
        for name, tls, promises in (("HTTP", False, plain), ("HTTPS, TLS 1.3", True, secure)):
            peers = single_file(origin, large, tls=tls, out=out)
            whole.append(Scenario(f"1024 MiB over {name}, {place}", large, peers, promises, note))
    return [
        *whole,
        Scenario(
            "100 MiB at 8 MiB/s per connection, 60 ms to first byte",
            small,
            single_file(origin, small, pace="slow-late"),
            (Promise("wall", "aria2", 1.0),),
        ),
        Scenario(
            "1000 HLS fragments of 200 KiB",
            listed,
            fragments(origin, listed, 1000),
            (Promise("wall", "curl", 1.3), Promise("wall", "yt-dlp", 0.05)),
            note="curl's fragments are not joined.",
        ),
        Scenario(
            "1000 HLS fragments of 200 KiB, 60 ms to first byte, 16 connections",
            listed,
            fragments(origin, listed, 1000, pace="late"),
            (Promise("wall", "curl", 1.05),),
            note="curl's fragments are not joined.",
        ),
    ]


def file_system(folder: Path) -> str:
    """What is mounted there, such as ``ext4``."""
    asked = ["stat", "--file-system", "--format", "%T", str(folder)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "the disk"


def measure(origin: Origin, scenario: Scenario, repetitions: int) -> dict[str, Taken]:
    """Every repetition runs every tool once, starting with another one each time: load changes hit all alike."""
    taken = {peer.name: Taken() for peer in scenario.peers}
    for repetition in range(repetitions):
        first = repetition % len(scenario.peers)
        for peer in [*scenario.peers[first:], *scenario.peers[:first]]:
            _once(origin, peer, peer.served or scenario.served, taken[peer.name])
    return taken


def _once(origin: Origin, peer: Peer, served: Served, taken: Taken) -> None:
    """CPU (user + system, children included) and wall seconds of the whole process; a wrong file ends the run."""
    out = peer.outputs[0].parent
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.sync()  # nobody pays for writing back what the tool before left
    with (origin.folder / "stderr").open("w+b") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            peer.command, stdout=errors, stderr=errors, env={**os.environ, **peer.environment}, cwd=out
        )
        watchdog = threading.Timer(LONGEST_SECONDS, process.kill)
        watchdog.start()
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            wall = time.perf_counter() - began
            writes = _write_calls(process.pid)
            _, status, used = os.wait4(process.pid, 0)
        finally:
            watchdog.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().decode(errors="replace")[-500:]
    if process.returncode != 0:
        raise SystemExit(f"{peer.shown(origin)} ended with {process.returncode}: {said}")
    if digest_of(peer.outputs) != served.sha256:
        raise SystemExit(f"{peer.shown(origin)} left a wrong file for {served.name}")
    shutil.rmtree(out)
    taken.cpu.append(used.ru_utime + used.ru_stime)
    taken.wall.append(wall)
    taken.writes.append(writes)


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of the files joined in order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(MEBIBYTE):
                digest.update(block)
    return digest.hexdigest()


def _write_calls(pid: int) -> int:
    """Write system calls of an ended process that nobody has waited for; 0 where the kernel does not say."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("syscw")), 0)
