"""What ``vasset doctor`` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Two records that disagree. ``is_note``: true of every system that was just stopped; mended by itself at the next start."""

    check: str
    subject: str
    message: str
    repairable: bool = False
    is_note: bool = False
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as its row tells it. ``owner``: the machine whose disk it is on, None for this one or a shared folder."""

    history_id: int
    relative_path: str
    size_bytes: int
    removing: bool
    owner: str | None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file as the disk tells it."""

    relative_path: str
    size_bytes: int
    age_seconds: float
