"""A finished file gets the name it was asked for, and never another's. Imports little: ``vasset fetch`` is timed against curl."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vasset import _engine

# What file systems without hard links answer: FUSE, exFAT, SMB.
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES})


class TargetTaken(Exception):
    """The target appeared meanwhile; it is not replaced."""


def give_name(unfinished: str | os.PathLike[str], target: str | os.PathLike[str]) -> _engine.Durability:
    """Move a synced file to its name in the same folder. Raises :class:`TargetTaken` and the ``OSError`` of the disk."""
    try:
        _move(unfinished, target)
    except FileExistsError:
        raise TargetTaken(f"{target} exists and is never replaced; move it away or choose another name") from None
    try:
        sync(os.path.dirname(os.path.abspath(target)))  # noqa: PTH100, PTH120  # pathlib need not be imported
    except OSError:
        return "unknown"
    return "synced"


def _move(unfinished: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Unlike a rename, a link never replaces; nor does a file that must not have been there."""
    try:
        os.link(unfinished, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(unfinished, target)  # noqa: PTH105
        return
    os.unlink(unfinished)  # noqa: PTH108


def sync(path: str | os.PathLike[str]) -> None:
    """Have the disk confirm a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
