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
    identity = _identity(source)
    with draft.open("w", encoding="utf-8") as stream:
        json.dump({"source": source.name, "identity": identity, "file": fields}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(note)
    fsync_path(source.parent)


def read_note(workspace: Path) -> PublishedFile | None:
    """The file that was renamed away; None when nothing was: no note, a torn one, or its source is still here."""
    found = _read(workspace)
    return None if found is None else found[0]


def published_from(root: Path, workspace: Path) -> PublishedFile | None:
    """Like :func:`read_note`, and what is at its path now is still that very file: a name may have been given away again."""
    found = _read(workspace)
    if found is None:
        return None
    file, identity = found
    try:
        return file if _identity(root / file.relative_path) == identity else None
    except OSError:
        return None


def _read(workspace: Path) -> tuple[PublishedFile, list[int]] | None:
    try:
        note = json.loads((workspace / NOTE).read_text(encoding="utf-8"))
        file = PublishedFile(**note["file"])
        return None if (workspace / note["source"]).exists() else (file, note.get("identity", []))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _identity(path: Path) -> list[int]:
    """Survives a rename; two files never share it."""
    status = path.stat(follow_symlinks=False)
    return [status.st_ino, status.st_size, status.st_mtime_ns]
