"""The nursery as a process of its own, before it knows anything: what it needs to know comes over its control socket.

So it can be started before the settings are read. ``vasset get`` does that first of all (``start_ahead``): yt-dlp's libraries
are loaded on one core while the command line is read on another. Standard library only, and little of it, for the same reason.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

PROGRAM = os.path.join(os.path.dirname(__file__), "child", "__main__.py")


class Spawned:
    """``control`` carries one message a packet; closing it ends the process and everything below it."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),), start_new_session=True, cwd="/",
                env={"PATH": "/nonexistent", "LANG": "C.UTF-8", "DENO_NO_UPDATE_CHECK": "1", "DENO_DIR": "/nonexistent"},
            )  # fmt: skip
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()


_ahead: list[Spawned] = []


def start_ahead() -> None:
    """Start one for whoever in this process wants the first nursery; it ends with this process if nobody does."""
    with contextlib.suppress(OSError):  # whoever needs one tries again, and says what is wrong
        _ahead.append(Spawned())


def spawn() -> Spawned:
    """The one started ahead, if there is one and it still lives; else a new one."""
    while _ahead:
        spawned = _ahead.pop()
        if spawned.process.poll() is None:
            return spawned
        spawned.control.close()
    return Spawned()
