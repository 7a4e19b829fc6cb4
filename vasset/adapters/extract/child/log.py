"""What yt-dlp wants to say, as single short lines on stderr; the server redacts and logs them.

Its warnings are kept until the job ends as well: why a page failed often stands in them and not in the error (``domain/faults.py``).
"""

from __future__ import annotations

import sys
from collections import deque

from vasset.domain.faults import is_evidence

MAX_LINE = 2_000
MAX_HEARD = 50
EXPECTED = ("Falling back on generic information extractor",)

_heard: deque[str] = deque(maxlen=MAX_HEARD)


def heard() -> list[str]:
    """What was said since :func:`forget`: the child does one job after another."""
    return list(_heard)


def forget() -> None:
    _heard.clear()


class StderrLog:
    """yt-dlp's ``logger``. Screen chatter is dropped unless it explains a failure, warnings and errors stay."""

    def __init__(self, task_id: str | None) -> None:
        self._task = task_id or "-"

    def debug(self, message: str) -> None:
        if is_evidence(message):
            _heard.append(message[:MAX_LINE])

    info = debug

    def warning(self, message: str) -> None:
        if any(usual in message for usual in EXPECTED):
            return
        _heard.append(message[:MAX_LINE])
        self._write("warning", message)

    def error(self, message: str) -> None:
        self._write("error", message)

    def _write(self, level: str, message: str) -> None:
        line = " ".join(str(message).split())[:MAX_LINE]
        sys.stderr.write(f"{level} {self._task} {line}\n")
        sys.stderr.flush()
