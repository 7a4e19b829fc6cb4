"""The note a worker leaves before the publishing rename, so that a crash between rename and SQL row is finished, not repeated."""

from __future__ import annotations

import json
import os
from pathlib import Path

from vasset.adapters.storage.beneath import fsync_path
from vasset.domain.history import PublishedFile

NOTE = ".publication.json"


def write_note(source: Path, file: PublishedFile) -> None:
    """Say that ``source`` is about to become ``file``. Durable when this returns."""
    note = source.parent / NOTE
    draft = note.with_name(NOTE + ".new")
    fields = {name: getattr(file, name) for name in PublishedFile.__dataclass_fields__}
    with draft.open("w", encoding="utf-8") as stream:
        json.dump({"source": source.name, "file": fields}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(note)
    fsync_path(source.parent)


def read_note(workspace: Path) -> PublishedFile | None:
    """The file that was renamed away; None when nothing was: no note, a torn one, or its source is still here."""
    try:
        note = json.loads((workspace / NOTE).read_text(encoding="utf-8"))
        file = PublishedFile(**note["file"])
        return None if (workspace / note["source"]).exists() else file
    except (OSError, ValueError, TypeError, KeyError):
        return None
