"""A finished file gets the name it was asked for, and never another's. Imports little: ``vasset fetch`` is timed against curl."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vasset import _engine


class TargetTaken(Exception):
    """The target appeared meanwhile; it is not replaced."""


def give_name(unfinished: str | os.PathLike[str], target: str | os.PathLike[str]) -> _engine.Durability:
    """Move a synced file to its name in the same folder. Raises :class:`TargetTaken` and the ``OSError`` of the disk."""
    from pathlib import Path  # with what follows, only where something was made of what was fetched

    from vasset.adapters.storage.beneath import rename_no_replace

    try:
        rename_no_replace(Path(unfinished), Path(target))
    except FileExistsError:
        raise TargetTaken(f"{target} exists and is never replaced; move it away or choose another name") from None
    try:
        sync(os.path.dirname(os.path.abspath(target)))  # noqa: PTH100, PTH120  # pathlib need not be imported
    except OSError:
        return "unknown"
    return "synced"


def sync(path: str | os.PathLike[str]) -> None:
    """Have the disk confirm a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
