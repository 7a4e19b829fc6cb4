"""The short form for CI: the engine beside curl, failing on ratios that hold on a busy machine and break with a regression.

Seconds are useless on a shared machine of two cores, and even a ratio of two short programs is noise when one of them
starts an interpreter. So each repetition also runs `vasset` on an empty file and takes that off: what is left is what the
engine does for the bytes, hash included. Beside it stands a figure no load can change: how many write calls the
file took, which is the largest part of the price (`docs/decisions/http-reader.md`).
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, replace

from benchmarks.engine.origin import MEBIBYTE, Origin
from benchmarks.engine.peers import CLIENT, LIMIT, Peer, fragments, single_file
from benchmarks.engine.scenarios import Scenario, Taken, measure

START = "vasset, empty file"
# Of the program that does nothing but receive, write and hash. The goal is 1.10 of a gigabyte (`docs/benchmarks.md`).
MOST = 1.7  # of 0.96 to 1.31 in single runs on shared machines


@dataclass(frozen=True, slots=True)
class Limit:
    """``found`` above ``most`` fails the run."""

    what: str
    found: float
    most: float

    def line(self) -> str:
        return f"{self.what:66} {self.found:6.2f}   limit {self.most:g}{'' if self.found <= self.most else '   BROKEN'}"


def run(origin: Origin) -> int:
    large = origin.add_file("large.mp4", 256 * MEBIBYTE)
    empty = origin.add_file("empty.mp4", 0)
    late = origin.add_file("late.mp4", 24 * MEBIBYTE)
    listed = origin.add_fragments(200)
    start = replace(_of(single_file(origin, empty), CLIENT)[0], name=START, served=empty)
    limits: list[Limit] = []
    # Whole gigabytes take 0.8-1.2 and 0.6-1.0 of curl's CPU, at loads of 1 to 9; pieces of 16 KiB instead of 256 add 0.6.
    for name, tls, most in (("HTTP", False, 1.6), ("TLS 1.3", True, 1.6)):
        peers = [*_of(single_file(origin, large, tls=tls), CLIENT, LIMIT, "curl"), start]
        taken = measure(origin, Scenario(f"256 MiB over {name}", large, peers), 5)
        limits.append(Limit(f"256 MiB over {name}: CPU beyond the start / curl", _beyond_start(taken, "cpu"), most))
        if LIMIT in taken:
            limits.append(Limit(f"256 MiB over {name}: CPU beyond the start / limit", _above_the_limit(taken), MOST))
        calls = statistics.median(taken[CLIENT].writes) - statistics.median(taken[START].writes)
        if calls > 0:
            # 256 KiB each is 4 a MiB, 6-9 on a busy machine, whose reads are shorter; pieces of 16 KiB would be 64.
            limits.append(Limit(f"256 MiB over {name}: write calls per MiB", calls / 256, 16.0))
    # One stream would take 3 s where sixteen take 0.3: the limit tells whether connections are opened at all.
    peers = [*_of(single_file(origin, late, pace="slow-late"), CLIENT, "curl"), start]
    taken = measure(origin, Scenario("24 MiB at 8 MiB/s per connection", late, peers), 2)
    limits.append(Limit("24 MiB at 8 MiB/s per connection: wall / curl", _beyond_start(taken, "wall"), 0.6))
    # Round trips one after the other would be 12 s; sixteen at once are 0.8, as curl's.
    peers = [*_of(fragments(origin, listed, 200, pace="late"), CLIENT, "curl"), start]
    taken = measure(origin, Scenario("200 HLS fragments, 60 ms to first byte", listed, peers), 3)
    limits.append(Limit("200 HLS fragments, 60 ms to first byte: wall / curl", _beyond_start(taken, "wall"), 1.6))
    for limit in limits:
        print(limit.line())
    broken = [limit for limit in limits if limit.found > limit.most]
    for limit in broken:
        print(f"FAILED {limit.what} is {limit.found:.2f}, the limit is {limit.most:g}", file=sys.stderr)
    return 1 if broken else 0


def _beyond_start(taken: dict[str, Taken], metric: str) -> float:
    """(ours - our start) / curl's by repetition, their median."""
    rows = zip(*(getattr(taken[name], metric) for name in (CLIENT, START, "curl")), strict=True)
    return float(statistics.median((ours - start) / curl for ours, start, curl in rows))


def _above_the_limit(taken: dict[str, Taken]) -> float:
    """By the best of the repetitions each: what else the machine does can only add to them."""
    return (min(taken[CLIENT].cpu) - min(taken[START].cpu)) / min(taken[LIMIT].cpu)


def _of(peers: list[Peer], *names: str) -> list[Peer]:
    return [peer for peer in peers if peer.name in names]
