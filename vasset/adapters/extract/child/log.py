"""What yt-dlp wants to say, as single short lines on stderr; the server redacts and logs them."""

from __future__ import annotations

import sys

MAX_LINE = 2_000
EXPECTED = ("Falling back on generic information extractor",)


class StderrLog:
    """yt-dlp's ``logger``. Screen chatter is dropped, warnings and errors stay."""

    def __init__(self, task_id: str | None) -> None:
        self._task = task_id or "-"

    def debug(self, message: str) -> None:
        pass

    info = debug

    def warning(self, message: str) -> None:
        if any(usual in message for usual in EXPECTED):
            return
        self._write("warning", message)

    def error(self, message: str) -> None:
        self._write("error", message)

    def _write(self, level: str, message: str) -> None:
        line = " ".join(str(message).split())[:MAX_LINE]
        sys.stderr.write(f"{level} {self._task} {line}\n")
        sys.stderr.flush()
