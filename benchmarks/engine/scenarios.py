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
from typing import Literal

from benchmarks.engine.origin import MEBIBYTE, Origin, Served
from benchmarks.engine.peers import CLIENT, Peer, fragments, single_file

LONGEST_SECONDS = 180.0
QUICK_PEERS = (CLIENT, "curl", "aria2")
Metric = Literal["CPU", "wall"]


@dataclass(frozen=True, slots=True)
class Promise:
    """``vasset`` divided by ``peer`` is to be at most ``goal``; ``quick_limit`` is what fails the quick run."""

    metric: Metric
    peer: str
    goal: float
    quick_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    served: Served
    peers: Sequence[Peer]
    promises: tuple[Promise, ...]


@dataclass(slots=True)
class Taken:
    """Seconds of one tool, one entry a repetition."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def of(self, metric: Metric) -> list[float]:
        return self.cpu if metric == "CPU" else self.wall


def scenarios(origin: Origin, *, quick: bool) -> list[Scenario]:
    large = origin.add_file("large.mp4", (256 if quick else 1024) * MEBIBYTE)
    small = origin.add_file("small.mp4", 100 * MEBIBYTE)
    count = 200 if quick else 1000
    listed = origin.add_fragments(count)
    size = f"{large.size // MEBIBYTE} MiB"
    hf = Promise("CPU", "hf_transfer", 0.45)
    found = [
        Scenario(
            f"{size} over HTTP",
            large,
            single_file(origin, large),
            (Promise("CPU", "curl", 0.60, quick_limit=1.0), Promise("CPU", "aria2", 0.45), hf),
        ),
        Scenario(
            f"{size} over HTTPS, TLS 1.3",
            large,
            single_file(origin, large, tls=True),
            (Promise("CPU", "curl", 0.85, quick_limit=1.3),),
        ),
        Scenario(
            "100 MiB at 8 MiB/s per connection",
            small,
            single_file(origin, small, slow=True),
            (Promise("wall", "aria2", 1.0),),
        ),
    ]
    if _joins_playlists(origin, listed):
        promises = (Promise("wall", "curl", 1.3), Promise("wall", "yt-dlp", 0.05))
        found.append(Scenario(f"{count} HLS fragments of 200 KiB", listed, fragments(origin, listed, count), promises))
    return [_only(each, QUICK_PEERS) for each in found] if quick else found


def measure(origin: Origin, scenario: Scenario, repetitions: int) -> dict[str, Taken]:
    """Every repetition runs every tool once, starting with another one each time: load changes hit all alike."""
    taken = {peer.name: Taken() for peer in scenario.peers}
    for repetition in range(repetitions):
        first = repetition % len(scenario.peers)
        for peer in [*scenario.peers[first:], *scenario.peers[:first]]:
            cpu, wall = _once(origin, peer, scenario.served)
            taken[peer.name].cpu.append(cpu)
            taken[peer.name].wall.append(wall)
    return taken


def _joins_playlists(origin: Origin, listed: Served) -> bool:
    """False for an engine built without fragments, which says so at once; any other failure ends the run later."""
    peer = next(peer for peer in fragments(origin, listed, 0) if peer.name == CLIENT)
    command = [*peer.command[:-1], str(origin.folder / "asked.ts")]
    asked = subprocess.run(
        command,
        env={**os.environ, **peer.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    return "not supported by the engine" not in asked.stderr


def _only(scenario: Scenario, names: tuple[str, ...]) -> Scenario:
    peers = [peer for peer in scenario.peers if peer.name in names]
    return Scenario(scenario.name, scenario.served, peers, scenario.promises)


def _once(origin: Origin, peer: Peer, served: Served) -> tuple[float, float]:
    """CPU (user + system, children included) and wall seconds of the whole process; a wrong file ends the run."""
    out = origin.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    errors = (origin.folder / "stderr").open("w+b")
    with errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            peer.command, stdout=errors, stderr=errors, env={**os.environ, **peer.environment}, cwd=out
        )
        watchdog = threading.Timer(LONGEST_SECONDS, process.kill)
        watchdog.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            watchdog.cancel()
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read().decode(errors="replace")[-500:]
    if process.returncode != 0:
        raise SystemExit(f"{peer.shown(origin)} ended with {process.returncode}: {said}")
    digest = hashlib.sha256()
    for path in peer.outputs:
        with path.open("rb") as file:
            while block := file.read(MEBIBYTE):
                digest.update(block)
    if digest.hexdigest() != served.sha256:
        raise SystemExit(f"{peer.shown(origin)} left a wrong file for {served.name}")
    shutil.rmtree(out)
    return used.ru_utime + used.ru_stime, wall
