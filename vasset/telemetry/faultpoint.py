"""Named places where a test ends this process as ``kill -9`` would: ``VASSET_KILL_AT=K5:3`` at the third passing of K5.

The Python half of ``engine/src/faultpoint.rs``: one setting, one format, one list of names (``docs/fault-campaign.md``). Nothing is armed
unless a role was started with the setting; then it says so once, as an error, and ``production`` refuses to start. Unarmed, a
place costs one comparison with None.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from typing import NoReturn

import structlog

KILL_AT = re.compile(r"(K(?:[1-9]|1[0-6]))(?::([1-9][0-9]{0,8}))?\Z")


class _Armed:
    def __init__(self, name: str, passing: int) -> None:
        self.name = name
        self._left = passing
        self._counting = threading.Lock()  # K16 is passed by the database driver's threads

    def is_due(self, name: str) -> bool:
        if name != self.name:
            return False
        with self._counting:
            self._left -= 1
            return self._left == 0


_armed: _Armed | None = None


def arm(kill_at: str | None) -> None:
    """Choose the place for this process, or none. Called once per process, by whoever read the settings."""
    global _armed
    if kill_at is None:
        _armed = None
        return
    match = KILL_AT.match(kill_at)
    if match is None:
        raise ValueError(f"VASSET_KILL_AT is {kill_at!r}; write a place and a passing, such as K5:3")
    _armed = _Armed(match[1], int(match[2] or 1))
    structlog.get_logger("vasset.faultpoint").error(
        "this process will kill itself: VASSET_KILL_AT is set, which is for tests only", place=kill_at
    )


def is_armed(name: str) -> bool:
    return _armed is not None and _armed.name == name


def reach(name: str) -> None:
    """Die here if this is the chosen passing."""
    if _armed is not None and _armed.is_due(name):
        _die()


def begin(name: str, *, within_seconds: float = 0.003) -> None:
    """Die at a random moment of what comes next, for places in the middle of a call that is not ours."""
    if _armed is not None and _armed.is_due(name):
        threading.Thread(target=_die_within, args=(within_seconds,), daemon=True).start()


def _die_within(seconds: float) -> None:
    time.sleep(random.uniform(0, seconds))
    _die()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(137)  # never reached: SIGKILL cannot be caught
