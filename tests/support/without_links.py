"""A program on a file system without hard links and ``RENAME_NOREPLACE``: the kernel refuses both to it, by a seccomp filter.

``python -m tests.support.without_links PROGRAM ARGUMENT …``. What the program then meets is what exFAT, SMB and most FUSE file systems
answer: EPERM for a link, EINVAL for a rename with flags. Unlike a mounted one it needs neither root nor a driver.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER_OFFSET, FLAGS_OFFSET = (
    0,
    16 + 4 * 8,
)  # of ``struct seccomp_data``: the number, and the low half of the fifth argument
SYSCALLS = {"x86_64": {"link": 86, "linkat": 265, "renameat2": 316}, "aarch64": {"linkat": 37, "renameat2": 276}}


def is_possible() -> bool:
    return sys.platform == "linux" and platform.machine() in SYSCALLS


def refuse_links_and_flags() -> None:
    """For this process and every program it becomes."""
    numbers = SYSCALLS[platform.machine()]
    program: list[bytes] = [_step(LOAD, NUMBER_OFFSET)]
    for name, number in numbers.items():
        if name != "renameat2":
            program += [_step(EQUAL, number, 0, 1), _step(RETURN, REFUSE | errno.EPERM)]
    program += [
        _step(EQUAL, numbers["renameat2"], 0, 3),
        _step(LOAD, FLAGS_OFFSET),
        _step(EQUAL, 0, 1, 0),
        _step(RETURN, REFUSE | errno.EINVAL),
        _step(RETURN, ALLOW),
    ]
    steps = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(header), 0, 0)):
        if libc.prctl(*map(ctypes.c_ulong, arguments)) != 0:
            raise OSError(ctypes.get_errno(), "the kernel takes no filter")


def _step(code: int, operand: int, when_equal: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, when_equal, otherwise, operand)


if __name__ == "__main__":
    refuse_links_and_flags()
    os.execvp(sys.argv[1], sys.argv[1:])
