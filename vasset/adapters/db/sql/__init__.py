"""SQL that is more than a statement: functions and triggers, each file created whole by the migration that names it."""

from __future__ import annotations

from pathlib import Path


def script(name: str) -> list[str]:
    """The statements of the file ``name``, which stand apart by a line with nothing but ``--``."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8").split("\n--\n")
