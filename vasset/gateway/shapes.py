"""Domain objects → the JSON shapes of the contract (``ARCHITECTURE.md``, HTTP API)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from vasset.domain.download import Task
from vasset.domain.history import HistoryEntry, Page, Statistics
from vasset.domain.media import MediaInfo
from vasset.domain.progress import ProgressFrame
from vasset.domain.quota import Quota
from vasset.domain.user import Role, SessionInfo, TokenPair, User
from vasset.usecases.track_progress import describe_failure, retry_moment

Item = TypeVar("Item")
Shape = dict[str, Any]


def role_name(role: Role) -> str:
    return role.name.lower()


def user_shape(user: User) -> Shape:
    return {
        "id": user.id,
        "email": user.email,
        "nickname": user.nickname,
        "role": role_name(user.role),
        "created_at": user.created_at,
    }


def token_shape(tokens: TokenPair) -> Shape:
    return {
        "access_token": tokens.access_token,
        "refresh_token": tokens.refresh_token,
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "refresh_expires_in": tokens.refresh_expires_in,
    }


def session_shape(session: SessionInfo) -> Shape:
    return {
        "id": session.id,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "user_agent": session.user_agent,
        "current": session.current,
    }


def media_shape(media: MediaInfo) -> Shape:
    """orjson writes the nested dataclasses by itself; field names are those of ``domain/media.py``."""
    return {
        "url": media.url,
        "kind": media.kind,
        "id": media.id,
        "title": media.title,
        "site": media.site,
        "duration_seconds": media.duration_seconds,
        "thumbnail": media.thumbnail,
        "uploader": media.uploader,
        "is_live": media.is_live,
        "formats": list(media.formats),
        "qualities": list(media.qualities),
        "entries": list(media.entries),
        "entry_count": media.entry_count,
    }


def task_shape(task: Task, frame: ProgressFrame) -> Shape:
    """A row with the freshest numbers known about it: polling answers what the WebSocket says."""
    return {
        "task_id": task.id,
        "history_id": task.history_id,
        "url": task.url,
        "title": frame.title or task.title,
        "mode": task.mode,
        "quality": task.quality,
        "format": task.container,
        "status": task.status,
        "phase": frame.phase,
        "percent": frame.percent,
        "downloaded_bytes": frame.downloaded_bytes,
        "total_bytes": frame.total_bytes,
        "total_is_estimate": frame.total_is_estimate,
        "speed_bytes_per_second": frame.speed_bytes_per_second,
        "eta_seconds": frame.eta_seconds,
        "attempt": task.attempt,
        "seq": frame.seq,
        "waiting_for": frame.waiting_for,
        "is_live": frame.is_live,
        "created_at": task.created_at,
        "updated_at": task.updated_at,
        "completed_at": task.completed_at,
        "error": describe_failure(task.failure, retry_moment(task)),
    }


def frame_shape(frame: ProgressFrame) -> Shape:
    return {
        "task_id": frame.task_id,
        "history_id": frame.history_id,
        "title": frame.title,
        "phase": frame.phase,
        "percent": frame.percent,
        "downloaded_bytes": frame.downloaded_bytes,
        "total_bytes": frame.total_bytes,
        "total_is_estimate": frame.total_is_estimate,
        "speed_bytes_per_second": frame.speed_bytes_per_second,
        "eta_seconds": frame.eta_seconds,
        "attempt": frame.attempt,
        "seq": frame.seq,
        "waiting_for": frame.waiting_for,
        "is_live": frame.is_live,
        "timestamp": frame.timestamp,
        "error": frame.error,
    }


def has_file(entry: HistoryEntry, now: datetime) -> bool:
    return entry.file_path is not None and (entry.expire_at is None or entry.expire_at > now)


def history_shape(entry: HistoryEntry, now: datetime) -> Shape:
    return {
        "id": entry.id,
        "task_id": entry.task_id,
        "url": entry.url,
        "title": entry.title,
        "mode": entry.mode,
        "status": entry.status,
        "file_name": entry.file_name,
        "file_size": entry.file_size,
        "file_hash": entry.file_hash,
        "hash_algorithm": entry.hash_algorithm,
        "duration_seconds": entry.duration_seconds,
        "created_at": entry.created_at,
        "completed_at": entry.completed_at,
        "expire_at": entry.expire_at,
        "has_file": has_file(entry, now),
    }


def file_shape(entry: HistoryEntry, now: datetime) -> Shape | None:
    """The file of a completed download, None once it is gone."""
    if not has_file(entry, now):
        return None
    return {
        "name": entry.file_name,
        "size_bytes": entry.file_size,
        "hash": entry.file_hash,
        "hash_algorithm": entry.hash_algorithm,
        "expires_at": entry.expire_at,
        "address": f"/api/v1/download/file?history_id={entry.id}",
    }


def page_shape(page: Page[Item], shape: Callable[[Item], Shape]) -> Shape:
    return {
        "items": [shape(item) for item in page.items],
        "page": page.page,
        "per_page": page.per_page,
        "total": page.total,
    }


def quota_shape(quota: Quota) -> Shape:
    return {
        "daily_limit": quota.daily_limit,
        "daily_used": quota.daily_used,
        "remaining": quota.remaining,
        "reset_at": quota.reset_at,
    }


def statistics_shape(statistics: Statistics) -> Shape:
    return {
        "tasks_by_status": dict(statistics.tasks_by_status),
        "stored_bytes": statistics.stored_bytes,
        "downloaded_bytes": statistics.downloaded_bytes,
        "completed_today": statistics.completed_today,
        "success_rate": statistics.success_rate,
    }
