"""Accepting a task, and accepting it again: quota, history, task and outbox rows in one transaction."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from sqlalchemy import bindparam, insert, select

from vasset.adapters.db.database import Transaction
from vasset.adapters.db.dialect import insert_if_absent
from vasset.adapters.db.outbox import add_wake_up
from vasset.adapters.db.quick_submission import submit_quickly
from vasset.adapters.db.quota import debit
from vasset.adapters.db.rows import failure_values, task_from
from vasset.adapters.db.store_base import UNFINISHED, StoreBase, refuse_if_cancelled
from vasset.adapters.db.tables import download_history, idempotency_keys, tasks, user_totals
from vasset.adapters.db.totals import UNFINISHED_TASKS
from vasset.domain.download import Intent, Phase, Submission, Task, TaskStatus, check_transition
from vasset.domain.errors import IdempotencyMismatch, TooManyTasks
from vasset.domain.ports import Submitted
from vasset.domain.user import Role
from vasset.usecases.site_key import site_of

# Built once: SQLAlchemy takes longer to put a statement together than SQLite to run it.
_COUNT_UNFINISHED = select(UNFINISHED_TASKS).where(user_totals.c.user_id == bindparam("of_user"))
_ADD_HISTORY = insert(download_history).returning(download_history.c.id)
_ADD_TASK = insert(tasks).returning(tasks)


class TaskSubmission(StoreBase):
    async def submit(self, submission: Submission, *, role: Role, idempotency_key: str | None) -> Submitted:
        """One key, one task, one debit, however often and however parallel the request is repeated.

        A request that was refused (quota, too many tasks) leaves no trace of its key: it may be repeated later.
        """
        task_id = str(uuid.uuid4())
        if not self._database.is_sqlite:
            quick = await submit_quickly(
                self._database, submission, task_id=task_id, key=idempotency_key,
                request_hash=None if idempotency_key is None else hash_of(submission),
                daily_limit=self._policy.quota.limit_for(role), max_unfinished=self._policy.max_unfinished_tasks,
            )  # fmt: skip
            if quick is not None:
                return Submitted(quick, created=True)
        async with self._database.write() as transaction:
            if idempotency_key is not None:
                earlier = await self._claim_key(transaction, submission, idempotency_key, task_id)
                if earlier is not None:
                    return Submitted(earlier, created=False)
            day = await debit(
                transaction, user_id=submission.user_id, daily_limit=self._policy.quota.limit_for(role),
                task_id=task_id, n=1,
            )  # fmt: skip
            await self._refuse_too_many(transaction, submission.user_id)
            row = await self._insert(transaction, submission, task_id, day)
            await add_wake_up(transaction, row)
            return Submitted(task_from(row), created=True)

    async def retry(self, task_id: str, *, user_id: int | None, role: Role) -> Task:
        """Queue a failed or cancelled task again. Repeating it while the task is under way changes nothing."""
        async with self._database.write() as transaction:
            row = await self._find(transaction, task_id, user_id, lock=True)
            if row.status in UNFINISHED:
                refuse_if_cancelled(row.intent)
                return task_from(row)
            check_transition(row.status, TaskStatus.QUEUED)
            n = row.debits + 1
            day = await debit(
                transaction, user_id=row.user_id, daily_limit=self._policy.quota.limit_for(role), task_id=task_id, n=n
            )
            await self._refuse_too_many(transaction, row.user_id)
            queued = await self._queue(
                transaction, row,
                attempt=0, debits=n, quota_day=day, downloaded_bytes=0, started_at=None, completed_at=None,
                **failure_values(None),
            )  # fmt: skip
            return task_from(queued)

    async def _claim_key(self, transaction: Transaction, submission: Submission, key: str, task_id: str) -> Task | None:
        """The task this key made before, or None when the key is now ours."""
        request_hash = hash_of(submission)
        entry = {
            "user_id": submission.user_id, "key": key, "request_hash": request_hash, "task_id": task_id,
            "created_at": transaction.now,
        }  # fmt: skip
        if await insert_if_absent(transaction, idempotency_keys, entry):
            return None
        mine = (idempotency_keys.c.user_id == submission.user_id) & (idempotency_keys.c.key == key)
        known = (await transaction.execute(select(idempotency_keys).where(mine))).one()
        if known.request_hash != request_hash:
            raise IdempotencyMismatch(
                "this Idempotency-Key was sent before with another url, mode, quality or format; choose a new key"
            )
        return task_from((await transaction.execute(select(tasks).where(tasks.c.id == known.task_id))).one())

    async def _refuse_too_many(self, transaction: Transaction, user_id: int) -> None:
        """Runs after the debit, whose lock on the user's quota row makes the count exact."""
        count = int((await transaction.execute(_COUNT_UNFINISHED, {"of_user": user_id})).scalar_one_or_none() or 0)
        if count >= self._policy.max_unfinished_tasks:
            raise TooManyTasks(
                f"{count} downloads are unfinished, as many as one account may have; wait for one to end or cancel one",
                retry_after_seconds=30,
            )

    async def _insert(self, transaction: Transaction, submission: Submission, task_id: str, day: Any) -> Any:
        now = transaction.now
        asked = {
            "user_id": submission.user_id, "url": submission.url, "mode": submission.mode, "title": submission.title,
            "duration_seconds": submission.duration_seconds, "status": TaskStatus.QUEUED, "created_at": now,
        }  # fmt: skip
        history = await transaction.execute(_ADD_HISTORY, {"task_id": task_id, **asked})
        queued = {
            "id": task_id, "history_id": history.scalar_one(), "quality": submission.quality,
            "container": submission.container, "site": site_of(submission.url), "phase": Phase.QUEUED, "intent": Intent.GO_ON, "attempt": 0, "fence": 0,
            "woken_at": now, "debits": 1, "quota_day": day, "downloaded_bytes": 0, "updated_at": now,
            "with_subtitles": submission.with_subtitles, **asked,
        }  # fmt: skip
        task = await transaction.execute(_ADD_TASK, queued)
        return task.one()


def hash_of(submission: Submission) -> bytes:
    """What must be equal for two requests to count as the same one; display values do not."""
    asked = [submission.url, submission.mode, submission.quality, submission.container]
    if not submission.with_subtitles:  # so that a key from before there was the choice still fits
        asked.append("without subtitles")
    return hashlib.sha256(json.dumps(asked).encode()).digest()
