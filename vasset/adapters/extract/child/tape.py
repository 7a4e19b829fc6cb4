"""A recording under way: one file that only grows, and a note of how much of it is whole.

Bytes past the note are dropped when the tape is opened again, so a recording that was killed goes on after its last whole segment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO, cast

NOTE_SUFFIX = ".tape.json"


class Tape:
    """``next_number`` is the media sequence number to go on with; ``head`` names the initialisation written last."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + NOTE_SUFFIX)
        noted = _read(self._note)
        size = int(noted.get("size") or 0)
        self.size = size if self._part.is_file() and self._part.stat().st_size >= size else 0
        self.next_number: int | None = noted.get("next_number") if self.size else None
        self.head: str | None = noted.get("head") if self.size else None
        self._file = cast("BinaryIO", self._part.open("r+b" if self._part.is_file() else "w+b", buffering=0))
        self._file.truncate(self.size)
        self._file.seek(self.size)
        self._unnoted = 0

    @property
    def length(self) -> int:
        """Bytes written, the latest segment's included."""
        return self.size + self._unnoted

    def write(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            written = self._file.write(view)
            self._unnoted += written
            view = view[written:]

    def commit(self, next_number: int | None = None, head: str | None = None) -> None:
        """What was written since the last commit is whole."""
        self.size, self._unnoted = self.length, 0
        self.next_number, self.head = next_number, head
        fresh = self._note.with_name(self._note.name + ".new")
        fresh.write_text(json.dumps({"size": self.size, "next_number": next_number, "head": head}), encoding="ascii")
        fresh.replace(self._note)

    def rewind(self) -> None:
        """Drop what was written since the last commit."""
        self._unnoted = 0
        self._file.truncate(self.size)
        self._file.seek(self.size)

    def close(self) -> None:
        self._file.close()

    def publish(self) -> None:
        """The recording is over: it takes the name that post-processing looks for."""
        self.rewind()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._target)
        self._note.unlink(missing_ok=True)


def is_begun(target: Path) -> bool:
    """Whether anything of ``target`` was recorded."""
    return target.is_file() or int(_read(target.with_name(target.name + NOTE_SUFFIX)).get("size") or 0) > 0


def _read(note: Path) -> dict[str, Any]:
    try:
        noted = json.loads(note.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
