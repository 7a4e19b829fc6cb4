"""History, quota and statistics between domain and wire."""

from __future__ import annotations

from vasset.domain.download import Mode, TaskStatus
from vasset.domain.history import HistoryEntry, Page, Statistics
from vasset.domain.quota import Quota
from vasset.services.convert import moment, optional, optional_moment, optional_seconds, seconds
from vasset.services.proto import asset_pb2 as wire


def entry_to_wire(entry: HistoryEntry) -> wire.HistoryEntryMessage:
    return wire.HistoryEntryMessage(
        id=entry.id,
        task_id=entry.task_id,
        user_id=entry.user_id,
        url=entry.url,
        title=entry.title,
        mode=entry.mode.value,
        status=entry.status.value,
        created_at=seconds(entry.created_at),
        completed_at=optional_seconds(entry.completed_at),
        expire_at=optional_seconds(entry.expire_at),
        file_path=entry.file_path,
        file_name=entry.file_name,
        file_size=entry.file_size,
        file_hash=entry.file_hash,
        hash_algorithm=entry.hash_algorithm,
        duration_seconds=entry.duration_seconds,
        file_owner=entry.file_owner,
    )


def entry_from_wire(message: wire.HistoryEntryMessage) -> HistoryEntry:
    return HistoryEntry(
        id=message.id,
        task_id=message.task_id,
        user_id=message.user_id,
        url=message.url,
        title=optional(message, "title"),
        mode=Mode(message.mode),
        status=TaskStatus(message.status),
        created_at=moment(message.created_at),
        completed_at=optional_moment(message, "completed_at"),
        expire_at=optional_moment(message, "expire_at"),
        file_path=optional(message, "file_path"),
        file_name=optional(message, "file_name"),
        file_size=optional(message, "file_size"),
        file_hash=optional(message, "file_hash"),
        hash_algorithm=optional(message, "hash_algorithm"),
        duration_seconds=optional(message, "duration_seconds"),
        file_owner=optional(message, "file_owner"),
    )


def page_to_wire(page: Page[HistoryEntry]) -> wire.HistoryPage:
    return wire.HistoryPage(
        items=[entry_to_wire(entry) for entry in page.items], page=page.page, per_page=page.per_page, total=page.total
    )


def page_from_wire(message: wire.HistoryPage) -> Page[HistoryEntry]:
    return Page(
        items=[entry_from_wire(entry) for entry in message.items],
        page=message.page,
        per_page=message.per_page,
        total=message.total,
    )


def quota_to_wire(quota: Quota) -> wire.QuotaMessage:
    return wire.QuotaMessage(
        daily_limit=quota.daily_limit, daily_used=quota.daily_used, reset_at=seconds(quota.reset_at)
    )


def quota_from_wire(message: wire.QuotaMessage) -> Quota:
    return Quota(daily_limit=message.daily_limit, daily_used=message.daily_used, reset_at=moment(message.reset_at))


def statistics_to_wire(statistics: Statistics) -> wire.StatisticsMessage:
    return wire.StatisticsMessage(
        tasks_by_status=dict(statistics.tasks_by_status),
        stored_bytes=statistics.stored_bytes,
        downloaded_bytes=statistics.downloaded_bytes,
        completed_today=statistics.completed_today,
        success_rate=statistics.success_rate,
    )


def statistics_from_wire(message: wire.StatisticsMessage) -> Statistics:
    return Statistics(
        tasks_by_status=dict(message.tasks_by_status),
        stored_bytes=message.stored_bytes,
        downloaded_bytes=message.downloaded_bytes,
        completed_today=message.completed_today,
        success_rate=optional(message, "success_rate"),
    )
