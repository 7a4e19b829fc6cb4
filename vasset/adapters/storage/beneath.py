"""Opening and renaming below a folder without being led out of it by a symlink, a ``..`` or a swapped directory.

Linux answers with one system call (``openat2`` with ``RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS``, ``renameat2`` with ``RENAME_NOREPLACE``); elsewhere
the path is walked folder by folder with ``O_NOFOLLOW``, and a hard link that refuses an existing name stands for the rename. Where there
are no hard links either (exFAT, SMB, most file systems in user space) the name is taken by an empty file that only one can make, as the
engine does (``sink/naming.rs``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

_SYS_OPENAT2 = 437  # the same number on every Linux architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(root: Path, relative: str, flags: int) -> int:
    """A descriptor of ``root/relative``. Raises ``OSError`` (``ELOOP``, ``EXDEV``, ``ENOENT`` …) when the path leaves ``root`` or uses a symlink."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\0" in relative:
        raise OSError(errno.EXDEV, "the path is not below the data folder", relative)
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc is not None:
            try:
                return _openat2(root_fd, relative, flags)
            except OSError as error:
                if error.errno not in {errno.ENOSYS, errno.EPERM, errno.E2BIG}:
                    raise
        return _walk(root_fd, parts, flags)
    finally:
        os.close(root_fd)


def open_regular_beneath(root: Path, relative: str) -> int:
    """A descriptor for reading a regular file with one name: a FIFO, a device or a hard link is refused with ``EPERM``."""
    descriptor = open_beneath(root, relative, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.EPERM, "not a regular file of our own", relative)
    return descriptor


def rename_no_replace(source: Path, target: Path) -> None:
    """Atomic; raises ``FileExistsError`` when ``target`` exists."""
    if _libc is not None and hasattr(_libc, "renameat2"):
        if _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return
        code = ctypes.get_errno()
        if code not in {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:  # a filesystem without the flag (NFS)
            raise OSError(code, os.strerror(code), str(source), None, str(target))
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}:
            raise
        _rename_over_own_placeholder(source, target)
    else:
        source.unlink()


def _rename_over_own_placeholder(source: Path, target: Path) -> None:
    """Not atomic: between the two steps, and after a crash there, the name is an empty file. It is never somebody else's."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        if os.fstat(descriptor).st_size:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        try:
            source.rename(target)
        except OSError:
            if os.fstat(descriptor).st_size == 0:
                target.unlink()
            raise
    finally:
        os.close(descriptor)


def fsync_path(path: Path) -> None:
    """Make a file's bytes, or a folder's entries, durable."""
    with _opened(path) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _openat2(root_fd: int, relative: str, flags: int) -> int:
    assert _libc is not None
    how = _OpenHow(flags, 0, _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    descriptor = _libc.syscall(
        _SYS_OPENAT2, root_fd, os.fsencode(relative), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), relative)
    return int(descriptor)


def _walk(root_fd: int, parts: tuple[str, ...], flags: int) -> int:
    current = os.dup(root_fd)
    try:
        for part in parts[:-1]:
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current = following
        return os.open(parts[-1], flags | os.O_NOFOLLOW, dir_fd=current)
    finally:
        os.close(current)
