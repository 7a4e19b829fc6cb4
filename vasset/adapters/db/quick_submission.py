"""The usual submission on PostgreSQL: two statements instead of nine, spoken to the driver directly.

A burst is paid for in round trips and in SQLAlchemy's 0.3 ms a statement. These two say what ``task_submission.py`` says and decide
nothing else: whatever is not usual (a known key, no quota, too many tasks) rolls back and is left to the statements there.

There are two because the count of unfinished tasks must see what was committed before this transaction got the lock on the user's
quota row, and a statement sees what was committed before it began.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import orjson

from vasset.adapters.db.database import Database
from vasset.adapters.db.outbox import body_of, wake_up_key
from vasset.adapters.db.types import storable
from vasset.domain.download import Intent, Phase, Submission, Task, TaskStatus
from vasset.telemetry import faultpoint

if TYPE_CHECKING:
    import asyncpg

DEBIT = """
WITH today AS (
  SELECT at, (at AT TIME ZONE 'UTC')::date AS day, ((at AT TIME ZONE 'UTC')::date + 1)::timestamp AT TIME ZONE 'UTC' AS ends
  FROM (SELECT coalesce($6::timestamptz, now()) AS at) AS moment
), keyed AS (
  INSERT INTO idempotency_keys (user_id, key, request_hash, task_id, created_at)
  SELECT $1::bigint, $2::text, $3::bytea, $4::text, at FROM today WHERE $2::text IS NOT NULL
  ON CONFLICT DO NOTHING RETURNING 1
), debited AS (
  INSERT INTO user_quotas AS quota (user_id, day, daily_limit, daily_used, reset_at, updated_at)
  SELECT $1::bigint, day, $5::integer, 1, ends, at FROM today
  WHERE $5::integer > 0 AND ($2::text IS NULL OR EXISTS (SELECT FROM keyed))
  ON CONFLICT (user_id) DO UPDATE SET
    daily_used = CASE WHEN quota.day >= excluded.day THEN quota.daily_used + 1 ELSE 1 END,
    reset_at = CASE WHEN quota.day >= excluded.day THEN quota.reset_at ELSE excluded.reset_at END,
    day = greatest(quota.day, excluded.day), daily_limit = excluded.daily_limit, updated_at = excluded.updated_at
  WHERE quota.day < excluded.day OR quota.daily_used < excluded.daily_limit
  RETURNING day
)
SELECT today.at, debited.day FROM today, debited
"""
ADD = """
WITH room AS (
  SELECT FROM tasks WHERE user_id = $2::bigint AND status IN ('queued', 'retry', 'running', 'paused') HAVING count(*) < $11::integer
), kept AS (
  INSERT INTO download_history (task_id, user_id, url, mode, title, duration_seconds, status, removing, created_at)
  SELECT $1::text, $2::bigint, $3::text, $4::text, $5::text, $6::float, 'queued', false, $9::timestamptz FROM room RETURNING id
), queued AS (
  INSERT INTO tasks (id, history_id, user_id, url, mode, title, duration_seconds, quality, container, with_subtitles, status, phase, intent,
    attempt, fence, woken_at, debits, quota_day, downloaded_bytes, created_at, updated_at)
  SELECT $1::text, id, $2::bigint, $3::text, $4::text, $5::text, $6::float, $7::text, $8::text, $15::boolean, 'queued', 'queued', $14::text,
    0, 0, $9::timestamptz, 1, $10::date, 0, $9::timestamptz, $9::timestamptz FROM kept RETURNING history_id
), counted AS (
  INSERT INTO quota_ledger (user_id, task_id, kind, n, day, created_at)
  SELECT $2::bigint, $1::text, 'debit', 1, $10::date, $9::timestamptz FROM kept
), waking AS (
  INSERT INTO outbox (routing_key, task_id, body, created_at)
  SELECT $12::text, $1::text, $13::json, $9::timestamptz FROM kept
)
SELECT history_id FROM queued
"""


async def submit_quickly(
    database: Database,
    submission: Submission,
    *,
    task_id: str,
    key: str | None,
    request_hash: bytes,
    daily_limit: int,
    max_unfinished: int,
) -> Task | None:
    """The new task, or None when nothing was written because this is not the usual case. Raises ``DependencyDown``."""
    async with database.direct() as (connection, clock_now):
        transaction = connection.transaction()
        await transaction.start()
        task = None
        try:
            debited = await connection.fetchrow(
                DEBIT, submission.user_id, key, request_hash, task_id, daily_limit, clock_now
            )
            if debited is not None:
                task = await _add(connection, _task(submission, task_id, debited["at"]), debited["day"], max_unfinished)
                faultpoint.reach("K15")
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if task is None else transaction.commit())
        return task


async def _add(
    connection: asyncpg.Connection[asyncpg.Record], task: Task, day: date, max_unfinished: int
) -> Task | None:
    history_id = await connection.fetchval(
        ADD, task.id, task.user_id, task.url, str(task.mode), task.title, task.duration_seconds, task.quality,
        str(task.container), task.created_at, day, max_unfinished, wake_up_key(task.mode),
        orjson.dumps(body_of(task, task.url)).decode(), str(Intent.GO_ON), task.with_subtitles,
    )  # fmt: skip
    return None if history_id is None else replace(task, history_id=history_id)


def _task(submission: Submission, task_id: str, now: datetime) -> Task:
    return Task(
        id=task_id,
        user_id=submission.user_id,
        history_id=0,
        url=storable(submission.url),
        mode=submission.mode,
        quality=submission.quality,
        container=submission.container,
        status=TaskStatus.QUEUED,
        phase=Phase.QUEUED,
        attempt=0,
        fence=0,
        created_at=now.astimezone(UTC),
        updated_at=now.astimezone(UTC),
        title=None if submission.title is None else storable(submission.title),
        duration_seconds=submission.duration_seconds,
        with_subtitles=submission.with_subtitles,
    )
