"""A start on a full disk: room for the database's first write, made without the database.

For a process that owns the data folder alone. What is given up, in this order: the emergency reserve; folders that were being removed;
unfinished files, the largest first. A workspace with a note of publication is no such thing: its file is published, and its row may not know.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from vasset.adapters.storage.emergency import EmergencyReserve
from vasset.adapters.storage.local import LocalStorage
from vasset.adapters.storage.publication import NOTE

NEEDED_BYTES = 8 * 2**20  # the log, its index and a schema that has to be brought up to date


def make_room_to_start(storage: LocalStorage, reserve: EmergencyReserve) -> int:
    """Answers how many folders of unfinished files had to go; their downloads begin again."""
    tmp = storage.root / "tmp"
    for gone in tmp.glob("*/.gone-*"):
        shutil.rmtree(gone, ignore_errors=True)
    if _has_room(storage):
        return 0
    reserve.release()
    removed = 0
    for folder in sorted(_unfinished(tmp), key=_bytes_of, reverse=True):
        if _has_room(storage):
            break
        shutil.rmtree(folder, ignore_errors=True)
        removed += 1
    return removed


def _has_room(storage: LocalStorage) -> bool:
    disk = storage.usage()
    return disk.free_bytes >= max(NEEDED_BYTES, disk.floor_bytes // 2)


def _unfinished(tmp: Path) -> Iterator[Path]:
    return (folder for folder in tmp.glob("*/.work-*") if folder.is_dir() and not (folder / NOTE).exists())


def _bytes_of(folder: Path) -> int:
    return sum(file.lstat().st_blocks * 512 for file in folder.rglob("*"))
