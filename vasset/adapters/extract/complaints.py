"""What ffmpeg says on standard error about the disk. Its exit code is 0 when a copy or a trailer did not fit."""

from __future__ import annotations

import errno
import os

# In the words of strerror, which ffmpeg passes on.
DISK_ERRORS = {
    os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
}
NOT_OF_DISK = {errno.EIO}  # also what ffmpeg calls a broken input: only where it speaks of writing
WRITING = ("writ", "trailer", "mux", "closing", "flush", "clos")


def complain_of_disk(said: str) -> None:
    """Raise the ``OSError`` that ffmpeg met while it wrote, if it met one."""
    for line in said.splitlines():
        for words, number in DISK_ERRORS.items():
            if words in line and (number not in NOT_OF_DISK or any(verb in line.lower() for verb in WRITING)):
                raise OSError(number, words)


def last_words(said: str) -> str:
    """The last line that is not a summary."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and line.strip() != "Conversion failed!"]
    return lines[-1] if lines else ""
