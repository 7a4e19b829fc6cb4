"""What the kernel lets a child do: memory, file size, descriptors, processes, time, and no life after its parent."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

from vasset.adapters.extract.child.confinement import die_with_parent, prctl

SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
SET_NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS
DESCRIPTORS = 512
PROCESS_MARGIN = 512
NICENESS = 5
"""A third of the server's share when processors are short: people wait for answers, downloads for their turn."""


def become_subreaper() -> None:
    """Orphans of children (ffmpeg after its child was killed) come to the nursery to be reaped."""
    prctl(SET_CHILD_SUBREAPER, 1)


def confine(*, memory_mib: int, max_file_bytes: int) -> None:
    """Bound this process. Only the soft address-space limit is lowered: the deno wrapper must be able to raise its own."""
    die_with_parent()
    prctl(SET_NO_NEW_PRIVILEGES, 1)
    os.nice(NICENESS)
    page = resource.getpagesize()
    present = int(Path("/proc/self/statm").read_text().split()[0]) * page if _has_proc() else 512 * 2**20
    _lower(resource.RLIMIT_AS, present + memory_mib * 2**20, soft_only=True)
    _lower(resource.RLIMIT_FSIZE, max_file_bytes)
    _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NPROC, _own_threads() + PROCESS_MARGIN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write past the limit is an OSError, not a death


def allow_cpu_seconds(seconds: float) -> None:
    """Processor time for the next job, on top of what was used. The kernel's signal ends a job that spins."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1, soft_only=True)


def private_mib() -> int:
    """Memory this process does not share with the nursery."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) // 1024


def _lower(which: int, value: int, *, soft_only: bool = False) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, hard if soft_only else value))


def _own_threads() -> int:
    """RLIMIT_NPROC counts every thread of the user, the server's and the desktop's included."""
    if not _has_proc():
        return 8192
    mine, total = os.getuid(), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == mine:
                    total += sum(1 for _ in os.scandir(f"/proc/{entry.name}/task"))
            except OSError:
                continue
    return total


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()
