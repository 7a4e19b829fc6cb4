"""Free memory in small pieces, so that no run pays for pages the host has taken back.

A virtual machine may hand its free memory back to its host (free page reporting of the balloon: Firecracker, QEMU, most clouds).
The next program that needs it then pays for the host's page faults: 3 s per GiB on the machine this was found on, more than any
downloader needs for the bytes, and whoever happens to run first pays for the others. Only whole free blocks of 2 MiB are handed
back. So a file fills memory and keeps one page of every MiB: what is free between stays here, and is what the
kernel gives out first.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
STRIDE_BYTES = 1024 * 1024
BLOCK = b"\1" * (1 << 20)


@contextmanager
def backed_memory(mebibytes: int) -> Iterator[None]:
    """At least ``mebibytes`` of free memory are this machine's own meanwhile; nothing is done where it has less than three times that."""
    if not MEMORY.is_dir() or _available_mebibytes() < 3 * mebibytes:
        yield
        return
    with tempfile.TemporaryFile(dir=MEMORY, buffering=0) as file:
        for _ in range(mebibytes):
            file.write(BLOCK)
        with mmap.mmap(file.fileno(), mebibytes << 20) as pages:
            for start in range(0, mebibytes << 20, STRIDE_BYTES):
                pages.madvise(mmap.MADV_REMOVE, start + mmap.PAGESIZE, STRIDE_BYTES - mmap.PAGESIZE)
        yield


def _available_mebibytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE >> 20
