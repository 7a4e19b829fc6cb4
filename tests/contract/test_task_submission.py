"""Submitting is one transaction: quota, history, task and outbox together or not at all, once per key."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tests.support.builders import add_user, count, published, submission
from tests.support.clock import FakeClock
from vasset.adapters.db.database import Database
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.outbox import SqlOutbox
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tables import download_history, idempotency_keys, outbox, quota_ledger, tasks
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.download import Intent, Mode, Submission, TaskFailure, TaskStatus
from vasset.domain.errors import IdempotencyMismatch, IllegalTransition, NotFound, QuotaExceeded, TooManyTasks
from vasset.domain.media import Container
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role

LIMIT = 20
POLICY = TaskPolicy(quota=QuotaPolicy({Role.FREE: LIMIT, Role.PREMIUM: 500}), max_unfinished_tasks=50)
FAILURE = TaskFailure("extraction_failed", "no", retryable=False)


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database, POLICY)


@pytest.fixture
async def user_id(database: Database) -> int:
    return await add_user(database)


async def used(database: Database, user_id: int) -> int:
    return (await SqlLibrary(database, POLICY.quota).quota(user_id, Role.FREE)).daily_used


async def balance(database: Database) -> tuple[int, int]:
    """Debits and refunds in the ledger."""
    return (
        await count(database, quota_ledger, quota_ledger.c.kind == "debit"),
        await count(database, quota_ledger, quota_ledger.c.kind == "refund"),
    )


async def test_everything_that_was_asked_for_is_kept(store: SqlTaskStore, user_id: int) -> None:
    """No field at its default, so that one which a statement forgets is seen."""
    asked = Submission(
        user_id, "https://videos.example/watch?v=2", Mode.ARCHIVE, "720p", Container.WEBM,
        title="T", duration_seconds=1.5, with_subtitles=False,
    )  # fmt: skip
    defaults = {field.name: field.default for field in dataclasses.fields(Submission)}
    assert not [name for name, default in defaults.items() if getattr(asked, name) == default], "give it another value"
    submitted = await store.submit(asked, role=Role.FREE, idempotency_key=None)
    kept = await store.get(submitted.task.id, user_id=user_id)
    assert {name: getattr(kept, name) for name in defaults} == dataclasses.asdict(asked)


async def test_one_submission_writes_quota_history_task_and_wake_up(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    submitted = await store.submit(
        submission(user_id, mode=Mode.ARCHIVE, title="T", duration_seconds=1.5), role=Role.FREE, idempotency_key=None
    )
    assert submitted.created
    assert submitted.task.status is TaskStatus.QUEUED
    assert submitted.task == await store.get(submitted.task.id, user_id=user_id)
    assert await used(database, user_id) == 1
    assert await balance(database) == (1, 0)
    (message,) = await SqlOutbox(database).take(limit=10)
    assert message.routing_key == "download.archive"
    assert message.body == {
        "task_id": submitted.task.id, "user_id": user_id, "url": "https://videos.example/watch?v=1",
        "mode": "archive_download", "quality": "best", "format": "mp4", "metadata": {"title": "T", "duration": 1.5},
    }  # fmt: skip
    history = await SqlLibrary(database, POLICY.quota).entry(user_id, submitted.task.history_id)
    assert (history.task_id, history.status) == (submitted.task.id, TaskStatus.QUEUED)


async def test_a_refused_submission_leaves_no_trace(store: SqlTaskStore, database: Database, user_id: int) -> None:
    for _ in range(LIMIT):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    with pytest.raises(QuotaExceeded) as refused:
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key="late")
    assert refused.value.retry_after_seconds == 12 * 3600  # the clock stands at noon
    for table in (tasks, download_history, outbox, quota_ledger):
        assert await count(database, table) == LIMIT
    assert await count(database, idempotency_keys) == 0


async def test_parallel_submissions_never_exceed_the_limit(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    attempts = (store.submit(submission(user_id), role=Role.FREE, idempotency_key=None) for _ in range(64))
    results = await asyncio.gather(*attempts, return_exceptions=True)
    refused = [result for result in results if isinstance(result, QuotaExceeded)]
    assert len(refused) == 64 - LIMIT
    assert await count(database, tasks) == LIMIT
    assert await used(database, user_id) == LIMIT
    assert await balance(database) == (LIMIT, 0)


async def test_one_key_makes_one_task_and_one_debit_however_parallel(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    attempts = (store.submit(submission(user_id), role=Role.FREE, idempotency_key="k") for _ in range(50))
    results = await asyncio.gather(*attempts)
    assert len({result.task.id for result in results}) == 1
    assert sum(result.created for result in results) == 1
    assert await used(database, user_id) == 1
    assert await count(database, outbox) == 1


async def test_a_key_with_another_request_is_refused(store: SqlTaskStore, database: Database, user_id: int) -> None:
    await store.submit(submission(user_id), role=Role.FREE, idempotency_key="k")
    for change in ({"url": "https://videos.example/2"}, {"quality": "720p"}, {"mode": Mode.ARCHIVE}):
        with pytest.raises(IdempotencyMismatch):
            await store.submit(submission(user_id, **change), role=Role.FREE, idempotency_key="k")
    same = await store.submit(submission(user_id, title="told late"), role=Role.FREE, idempotency_key="k")
    assert not same.created
    assert await used(database, user_id) == 1


async def test_keys_of_two_users_do_not_meet(store: SqlTaskStore, database: Database, user_id: int) -> None:
    other = await add_user(database)
    mine = await store.submit(submission(user_id), role=Role.FREE, idempotency_key="k")
    theirs = await store.submit(submission(other, quality="720p"), role=Role.FREE, idempotency_key="k")
    assert theirs.created
    assert theirs.task.id != mine.task.id


async def test_a_refused_request_may_be_repeated_with_its_key(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    for _ in range(LIMIT):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    with pytest.raises(QuotaExceeded):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key="k")
    clock.advance(12 * 3600)
    assert (await store.submit(submission(user_id), role=Role.FREE, idempotency_key="k")).created
    assert await used(database, user_id) == 1


async def test_unfinished_tasks_are_bounded_also_in_parallel(database: Database, user_id: int) -> None:
    store = SqlTaskStore(database, TaskPolicy(quota=POLICY.quota, max_unfinished_tasks=7))
    attempts = (store.submit(submission(user_id), role=Role.FREE, idempotency_key=None) for _ in range(15))
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, TooManyTasks) for result in results) == 8
    assert await used(database, user_id) == 7


async def test_the_limit_follows_the_level(store: SqlTaskStore, user_id: int) -> None:
    for _ in range(LIMIT):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    with pytest.raises(QuotaExceeded):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    assert (await store.submit(submission(user_id), role=Role.PREMIUM, idempotency_key=None)).created


async def test_a_refund_after_midnight_goes_to_the_day_of_its_debit(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    task = (await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)).task
    clock.advance(13 * 3600)
    for _ in range(LIMIT):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    await store.cancel(task.id, user_id=user_id)
    assert await balance(database) == (LIMIT + 1, 1)
    assert await used(database, user_id) == LIMIT
    with pytest.raises(QuotaExceeded):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)


async def test_a_clock_that_steps_back_does_not_open_a_day_twice(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    for _ in range(LIMIT):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    clock.step_wall(-25 * 3600)
    with pytest.raises(QuotaExceeded):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)


async def test_retrying_debits_again_and_only_once(store: SqlTaskStore, database: Database, user_id: int) -> None:
    task = (await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    await store.fail(lease, FAILURE, retry_in_seconds=None)
    assert await used(database, user_id) == 0
    again = await asyncio.gather(*(store.retry(task.id, user_id=user_id, role=Role.FREE) for _ in range(10)))
    assert {retried.status for retried in again} == {TaskStatus.QUEUED}
    assert {retried.failure for retried in again} == {None}
    assert await used(database, user_id) == 1
    assert await balance(database) == (2, 1)


async def test_a_retry_needs_quota_and_a_task_that_ended_badly(store: SqlTaskStore, user_id: int) -> None:
    task = (await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    await store.complete(lease, published(task.id), duration_seconds=None)
    with pytest.raises(IllegalTransition):
        await store.retry(task.id, user_id=user_id, role=Role.FREE)
    failed = (await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)).task
    await store.cancel(failed.id, user_id=user_id)
    for _ in range(LIMIT - 1):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    with pytest.raises(QuotaExceeded):
        await store.retry(failed.id, user_id=user_id, role=Role.FREE)
    assert (await store.get(failed.id, user_id=user_id)).status is TaskStatus.CANCELLED


async def test_a_task_that_is_about_to_be_cancelled_is_not_retried(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    """Its worker still runs: a second debit now would never be given back."""
    task = (await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    await store.cancel(task.id, user_id=user_id)
    with pytest.raises(IllegalTransition, match="being cancelled"):
        await store.retry(task.id, user_id=user_id, role=Role.FREE)
    await store.stop(lease, Intent.CANCEL)
    assert await used(database, user_id) == 0
    assert (await store.retry(task.id, user_id=user_id, role=Role.FREE)).status is TaskStatus.QUEUED
    assert await used(database, user_id) == 1


async def test_another_users_task_is_as_unknown_as_none(store: SqlTaskStore, database: Database, user_id: int) -> None:
    other = await add_user(database)
    task = (await store.submit(submission(other), role=Role.FREE, idempotency_key=None)).task
    for task_id in (task.id, "00000000-0000-0000-0000-000000000000", "' OR 1=1 --", "\ud800"):
        for wish in (store.get, store.cancel, store.pause, store.resume):
            with pytest.raises(NotFound) as refused:
                await wish(task_id, user_id=user_id)
            assert refused.value.message == "there is no such download, or it belongs to somebody else"
        with pytest.raises(NotFound):
            await store.retry(task_id, user_id=user_id, role=Role.FREE)
        with pytest.raises(NotFound):
            await store.keep(task_id, user_id=user_id)
    assert (await store.page(user_id)).total == 0
    assert (await store.get(task.id, user_id=None)).id == task.id


async def test_pages_are_newest_first_and_filtered(store: SqlTaskStore, user_id: int, clock: FakeClock) -> None:
    ids = []
    for _ in range(5):
        ids.append((await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)).task.id)
        clock.advance(1)
    await store.cancel(ids[0], user_id=user_id)
    page = await store.page(user_id, page=2, per_page=2)
    assert ([task.id for task in page.items], page.total) == ([ids[2], ids[1]], 5)
    cancelled = await store.page(user_id, statuses=[TaskStatus.CANCELLED])
    assert [task.id for task in cancelled.items] == [ids[0]]
    assert (await store.active_count())[TaskStatus.QUEUED] == 4


async def test_text_no_database_stores_is_made_storable(store: SqlTaskStore, user_id: int) -> None:
    title = "nul \0 and half \ud800 a 💣"
    task = (await store.submit(submission(user_id, title=title), role=Role.FREE, idempotency_key=None)).task
    assert (await store.get(task.id, user_id=user_id)).title == "nul \ufffd and half \ufffd a 💣"
