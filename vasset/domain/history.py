"""Finished (and unfinished) downloads as their user sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from vasset.domain.download import Mode, TaskStatus

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page, newest first; ``page`` counts from 1."""

    items: Sequence[Item]
    page: int
    per_page: int
    total: int


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    id: int
    task_id: str
    user_id: int
    url: str
    title: str | None
    mode: Mode
    status: TaskStatus
    created_at: datetime
    completed_at: datetime | None = None
    expire_at: datetime | None = None
    file_path: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    file_hash: str | None = None
    hash_algorithm: str | None = None
    file_owner: str | None = None
    """Address of the worker whose own disk holds the file; None when every process reaches it."""
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A complete, verified, durable file. ``relative_path`` is below the data root."""

    relative_path: str
    file_name: str
    size_bytes: int
    digest: str
    hash_algorithm: str
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Totals of one user, or of everybody for an administrator."""

    tasks_by_status: Mapping[str, int]
    stored_bytes: int
    downloaded_bytes: int
    completed_today: int
    success_rate: float | None
