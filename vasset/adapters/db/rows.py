"""Rows become domain objects here and nowhere else."""

from __future__ import annotations

from typing import Any

from vasset.domain.download import Task, TaskFailure
from vasset.domain.history import HistoryEntry
from vasset.domain.user import Role, User


def failure_values(failure: TaskFailure | None) -> dict[str, Any]:
    """The columns of ``tasks`` that hold ``failure``; without one, those that forget the last."""
    return {
        "failure_reason": failure.reason if failure else None,
        "failure_kind": failure.kind if failure else None,
        "failure_message": failure.message if failure else None,
        "failure_retryable": failure.retryable if failure else None,
    }


def task_from(row: Any) -> Task:
    """A row of ``tasks``."""
    failure = None
    if row.failure_reason is not None:
        failure = TaskFailure(
            row.failure_reason, row.failure_message or "", bool(row.failure_retryable), row.failure_kind
        )
    return Task(
        id=row.id,
        user_id=row.user_id,
        history_id=row.history_id,
        url=row.url,
        mode=row.mode,
        quality=row.quality,
        container=row.container,
        status=row.status,
        phase=row.phase,
        attempt=row.attempt,
        fence=row.fence,
        created_at=row.created_at,
        updated_at=row.updated_at,
        title=row.title,
        duration_seconds=row.duration_seconds,
        lease_owner=row.lease_owner,
        lease_until=row.lease_until,
        not_before=row.not_before,
        started_at=row.started_at,
        completed_at=row.completed_at,
        downloaded_bytes=row.downloaded_bytes,
        total_bytes=row.total_bytes,
        failure=failure,
        extractor_version=row.extractor_version,
        with_subtitles=bool(row.with_subtitles),
        is_live=bool(row.is_live),
    )


def history_from(row: Any) -> HistoryEntry:
    """A row of ``download_history``."""
    return HistoryEntry(
        id=row.id,
        task_id=row.task_id,
        user_id=row.user_id,
        url=row.url,
        title=row.title,
        mode=row.mode,
        status=row.status,
        created_at=row.created_at,
        completed_at=row.completed_at,
        expire_at=row.expire_at,
        file_path=row.file_path,
        file_name=row.file_name,
        file_size=row.file_size,
        file_hash=row.file_hash,
        hash_algorithm=row.hash_algorithm,
        duration_seconds=row.duration_seconds,
        file_owner=row.file_owner,
    )


def user_from(row: Any) -> User:
    """A row of ``users``, without its secret."""
    return User(id=row.id, email=row.email, nickname=row.nickname, role=Role(row.role), created_at=row.created_at)
