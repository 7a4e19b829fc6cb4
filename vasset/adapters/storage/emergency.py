"""Bytes nobody may use: a file that is given up when the disk is full in spite of everything, so that rows can still be written.

What fills a disk to its last byte is seldom ours (the floor holds downloads back), but sign-in, cancel and delete have to work on it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

NAME = ".emergency"
LARGEST_SHARE = 50
PIECE = bytes(2**20)


class EmergencyReserve:
    def __init__(self, root: Path, size_bytes: int) -> None:
        self._path = root / NAME
        self._size_bytes = size_bytes

    @property
    def size_bytes(self) -> int:
        """Never more than a fiftieth of the disk."""
        return min(self._size_bytes, psutil.disk_usage(str(self._path.parent)).total // LARGEST_SHARE)

    @property
    def is_held(self) -> bool:
        return self._path.exists()

    def hold(self) -> None:
        """Take the room, really: written and not promised, which every file system understands. Raises ``OSError`` and then holds nothing."""
        left = self.size_bytes
        if self.is_held or left == 0:
            return
        draft = self._path.with_name(NAME + ".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while left > 0:
                left -= os.write(descriptor, PIECE[: min(left, len(PIECE))])
            os.fsync(descriptor)  # before that no block is taken
            draft.rename(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        finally:
            os.close(descriptor)

    def release(self) -> bool:
        """Give the room up; whether there was any."""
        with contextlib.suppress(OSError):
            self._path.with_name(NAME + ".new").unlink()
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
