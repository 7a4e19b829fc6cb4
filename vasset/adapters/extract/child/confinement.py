"""What a helper program gives up before it starts: a life after its parent, and the network."""

from __future__ import annotations

import ctypes
import os

SET_PARENT_DEATH_SIGNAL = 1
KILL = 9  # as `signal` says, which takes longer to import than all of this
NEW_USER = 0x1000_0000  # CLONE_NEWUSER
NEW_NETWORK = 0x4000_0000  # CLONE_NEWNET


def die_with_parent() -> None:
    """SIGKILL when the parent dies; survives exec."""
    prctl(SET_PARENT_DEATH_SIGNAL, KILL)


def leave_network() -> bool:
    """Enter an empty network namespace, where the kernel lets an ordinary user do so; False where it does not.

    The second wall: the first is that no input but a local file is ever named.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        return False
    alone = NEW_NETWORK if os.geteuid() == 0 else NEW_USER | NEW_NETWORK
    return bool(libc.unshare(alone) == 0)


def prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(option, value, 0, 0, 0)
