"""One worker at a time owns a task, and only what it writes under its fence counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.builders import add_user, count, published, submission
from tests.support.clock import FakeClock
from vasset.adapters.db.database import Database
from vasset.adapters.db.dead_letters import SqlDeadLetters
from vasset.adapters.db.files import SqlFileStore
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.outbox import SqlOutbox
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tables import outbox, quota_ledger
from vasset.adapters.db.tasks import MAX_CLAIMS, REPEAT_WAKE_UP_SECONDS, SqlTaskStore
from vasset.domain.download import Intent, Lease, Mode, Phase, Task, TaskFailure, TaskStatus
from vasset.domain.errors import IllegalTransition, LeaseLost
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role

POLICY = TaskPolicy(quota=QuotaPolicy({Role.FREE: 1_000}))
FAILURE = TaskFailure("transfer_failed", "the origin hung up", retryable=True)


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database, POLICY)


@pytest.fixture
async def user_id(database: Database) -> int:
    return await add_user(database)


async def queued(store: SqlTaskStore, user_id: int, mode: Mode = Mode.QUICK) -> Task:
    return (await store.submit(submission(user_id, mode=mode), role=Role.FREE, idempotency_key=None)).task


async def running(store: SqlTaskStore, user_id: int, mode: Mode = Mode.QUICK) -> Lease:
    task = await queued(store, user_id, mode)
    lease = await store.claim(task.id, worker="w1", lease_seconds=60)
    assert lease is not None
    return lease


async def refunds(database: Database) -> int:
    return await count(database, quota_ledger, quota_ledger.c.kind == "refund")


async def dead_letters(database: Database) -> int:
    return await count(database, outbox, outbox.c.routing_key == "download.dead")


# --- the fence -------------------------------------------------------------------------------------------------------


async def taken_over(store: SqlTaskStore, clock: FakeClock, stale: Lease, worker: str) -> Lease:
    clock.advance(61)
    assert stale.task.id in await store.reap()
    lease = await store.claim(stale.task.id, worker=worker, lease_seconds=60)
    assert lease is not None
    assert lease.fence > stale.fence
    return lease


@pytest.mark.parametrize("worker", ["w1", "w2"])
async def test_a_stale_lease_writes_nothing(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock, worker: str
) -> None:
    """Also when the same worker took the task again: the fence decides, not the name."""
    stale = await running(store, user_id)
    task_id = stale.task.id
    await taken_over(store, clock, stale, worker)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: store.heartbeat(stale, lease_seconds=60),
        lambda: store.record_extraction(stale, title="stale", duration_seconds=1, extractor_version="1", total_bytes=1),
        lambda: store.complete(stale, published(task_id), duration_seconds=None),
        lambda: store.fail(stale, FAILURE, retry_in_seconds=None),
        lambda: store.stop(stale, Intent.CANCEL),
        lambda: store.release(stale),
    ]
    before = await store.get(task_id, user_id=user_id)
    for write in writes:
        with pytest.raises(LeaseLost):
            await write()
    assert await store.get(task_id, user_id=user_id) == before
    assert await refunds(database) == 0


async def test_a_right_fence_under_another_name_is_no_lease(store: SqlTaskStore, user_id: int) -> None:
    lease = await running(store, user_id)
    with pytest.raises(LeaseLost):
        await store.heartbeat(replace(lease, worker="somebody"), lease_seconds=60)


async def test_a_heartbeat_writes_down_how_far_the_task_is_and_forgets_nothing(
    store: SqlTaskStore, user_id: int
) -> None:
    lease = await running(store, user_id)
    await store.heartbeat(lease, lease_seconds=60, downloaded_bytes=567, total_bytes=1_000)
    await store.heartbeat(lease, lease_seconds=60)
    await store.release(lease)
    again = await store.claim(lease.task.id, worker="w2", lease_seconds=60)
    assert again is not None
    assert (again.task.downloaded_bytes, again.task.total_bytes) == (567, 1_000)


async def test_due_are_the_tasks_that_somebody_could_claim(store: SqlTaskStore, user_id: int) -> None:
    first, second, third = [await queued(store, user_id) for _ in range(3)]
    await store.pause(second.id, user_id=None)
    assert [task.id for task in await store.due(limit=10)] == [first.id, third.id]
    assert [task.id for task in await store.due(limit=1)] == [first.id]
    lease = await store.claim(first.id, worker="w1", lease_seconds=60)
    assert lease is not None
    await store.fail(lease, FAILURE, retry_in_seconds=30)
    assert [task.id for task in await store.due(limit=10)] == [third.id]


async def test_a_heartbeat_keeps_the_task(store: SqlTaskStore, user_id: int, clock: FakeClock) -> None:
    lease = await running(store, user_id)
    for _ in range(5):
        clock.advance(45)
        assert await store.heartbeat(lease, lease_seconds=60) is Intent.GO_ON
        assert await store.reap() == []
    said = ("the cover was left out: the site answered 404", "mp4 cannot hold vp8: the file is webm")
    completed = await store.complete(lease, published(lease.task.id), duration_seconds=2.0, remarks=said)
    assert (completed.status, completed.remarks) == (TaskStatus.COMPLETED, said)
    assert (await store.get(lease.task.id, user_id=None)).remarks == said


async def test_an_ending_may_be_repeated_by_its_own_worker(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    """A worker repeats a write whose commit nobody answered; the second must not look like a lost lease."""
    completed = await running(store, user_id)
    file = published(completed.task.id)
    first = await store.complete(completed, file, duration_seconds=None)
    assert await store.complete(completed, file, duration_seconds=None) == first
    with pytest.raises(LeaseLost):
        await store.complete(completed, replace(file, relative_path="tmp/other.mp4"), duration_seconds=None)

    failed = await running(store, user_id)
    for _ in range(10):
        assert (await store.fail(failed, FAILURE, retry_in_seconds=None)).status is TaskStatus.FAILED
    assert await refunds(database) == 1
    assert await dead_letters(database) == 1

    waiting = await running(store, user_id)
    for _ in range(2):
        task = await store.fail(waiting, FAILURE, retry_in_seconds=5)
        assert (task.status, task.failure) == (TaskStatus.RETRY, FAILURE)

    released = await running(store, user_id)
    for _ in range(2):
        await store.release(released)
    assert (await store.get(released.task.id, user_id=user_id)).attempt == 0


async def test_a_replayed_dead_letter_that_fails_again_is_not_refunded_again(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    letters = SqlDeadLetters(database, POLICY)
    lease = await running(store, user_id)
    await store.fail(lease, FAILURE, retry_in_seconds=None)
    for _ in range(3):
        assert await letters.replay([lease.task.id]) == 1
        again = await store.claim(lease.task.id, worker="w1", lease_seconds=60)
        assert again is not None
        await store.fail(again, FAILURE, retry_in_seconds=None)
    assert await refunds(database) == 1
    assert (await SqlLibrary(database, POLICY.quota).quota(user_id, Role.FREE)).daily_used == 0
    await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    await letters.replay([lease.task.id])
    final = await store.claim(lease.task.id, worker="w1", lease_seconds=60)
    assert final is not None
    await store.fail(final, FAILURE, retry_in_seconds=None)
    assert (await SqlLibrary(database, POLICY.quota).quota(user_id, Role.FREE)).daily_used == 1


# --- completing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "kept_seconds"), [(Mode.QUICK, 86_400), (Mode.ARCHIVE, None)])
async def test_completing_makes_the_file_visible(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock, mode: Mode, kept_seconds: int | None
) -> None:
    lease = await running(store, user_id, mode)
    await store.record_extraction(lease, title="T", duration_seconds=3, extractor_version="2026.1", total_bytes=9)
    library = SqlLibrary(database, POLICY.quota)
    assert (await library.entry(user_id, lease.task.history_id)).file_path is None
    task = await store.complete(lease, published(lease.task.id), duration_seconds=4.0)
    assert (task.status, task.phase, task.title, task.total_bytes) == (TaskStatus.COMPLETED, Phase.COMPLETED, "T", 10)
    entry = await library.entry(user_id, task.history_id)
    assert (entry.file_path, entry.file_size, entry.title) == (f"tmp/{task.id}/Title.mp4", 10, "T")
    assert entry.duration_seconds == 4.0
    assert entry.expire_at == (None if kept_seconds is None else clock.now() + timedelta(seconds=kept_seconds))


async def test_cancel_and_complete_never_both_happen(store: SqlTaskStore, database: Database, user_id: int) -> None:
    """Whoever answers first decides; the loser hears about it."""
    leases = [await running(store, user_id) for _ in range(12)]

    async def complete(lease: Lease) -> bool:
        try:
            await store.complete(lease, published(lease.task.id), duration_seconds=None)
        except LeaseLost:
            return False
        return True

    async def cancel(lease: Lease) -> bool:
        try:
            await store.cancel(lease.task.id, user_id=user_id)
        except IllegalTransition:
            return False
        return True

    for number, lease in enumerate(leases):
        pair = [complete(lease), cancel(lease)]
        results = await asyncio.gather(*(pair if number % 2 else reversed(pair)))
        completed, cancelled = results if number % 2 else list(reversed(results))
        status = (await store.get(lease.task.id, user_id=user_id)).status
        assert completed != cancelled
        assert status is (TaskStatus.COMPLETED if completed else TaskStatus.CANCELLED)
        entry = await SqlLibrary(database, POLICY.quota).entry(user_id, lease.task.history_id)
        assert (entry.file_path is not None) is completed


# --- wishes ----------------------------------------------------------------------------------------------------------


async def test_cancelling_a_waiting_task_is_final_at_once_and_refunds_once(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    task = await queued(store, user_id)
    answers = await asyncio.gather(*(store.cancel(task.id, user_id=user_id) for _ in range(10)))
    assert {answer.status for answer in answers} == {TaskStatus.CANCELLED}
    assert await refunds(database) == 1
    assert await store.claim(task.id, worker="w", lease_seconds=60) is None


async def test_cancelling_a_running_task_reaches_it_by_heartbeat(
    store: SqlTaskStore, database: Database, user_id: int
) -> None:
    lease = await running(store, user_id)
    assert (await store.cancel(lease.task.id, user_id=user_id)).status is TaskStatus.RUNNING
    with pytest.raises(IllegalTransition):
        await store.pause(lease.task.id, user_id=user_id)
    with pytest.raises(IllegalTransition):
        await store.resume(lease.task.id, user_id=user_id)
    assert await store.heartbeat(lease, lease_seconds=60) is Intent.CANCEL
    assert (await store.stop(lease, Intent.CANCEL)).status is TaskStatus.CANCELLED
    assert await refunds(database) == 1


@pytest.mark.parametrize("ending", ["fail", "retry", "release", "stop_for_pause"])
async def test_a_cancel_wins_over_every_other_ending(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock, ending: str
) -> None:
    lease = await running(store, user_id)
    await store.cancel(lease.task.id, user_id=user_id)
    if ending == "fail":
        await store.fail(lease, FAILURE, retry_in_seconds=None)
    elif ending == "retry":
        await store.fail(lease, FAILURE, retry_in_seconds=0)
    elif ending == "release":
        await store.release(lease)
    else:
        await store.stop(lease, Intent.PAUSE)
    assert (await store.get(lease.task.id, user_id=user_id)).status is TaskStatus.CANCELLED
    assert (await refunds(database), await dead_letters(database)) == (1, 0)


async def test_no_refund_for_a_cancel_where_the_operator_says_so(database: Database, user_id: int) -> None:
    store = SqlTaskStore(database, replace(POLICY, refund_cancelled=False))
    task = await queued(store, user_id)
    await store.cancel(task.id, user_id=user_id)
    assert await refunds(database) == 0


async def test_pausing_and_resuming_costs_no_attempt(store: SqlTaskStore, database: Database, user_id: int) -> None:
    task = await queued(store, user_id)
    assert (await store.pause(task.id, user_id=user_id)).status is TaskStatus.PAUSED
    assert await store.claim(task.id, worker="w1", lease_seconds=60) is None
    backlog = await SqlOutbox(database).backlog()
    assert (await store.resume(task.id, user_id=user_id)).status is TaskStatus.QUEUED
    assert await SqlOutbox(database).backlog() == backlog + 1
    for _ in range(6):
        lease = await store.claim(task.id, worker="w1", lease_seconds=60)
        assert lease is not None
        assert lease.task.attempt == 1
        await store.pause(task.id, user_id=user_id)
        assert await store.heartbeat(lease, lease_seconds=60) is Intent.PAUSE
        paused = await store.stop(lease, Intent.PAUSE)
        assert (paused.status, paused.phase) == (TaskStatus.PAUSED, Phase.PAUSED)
        await store.resume(task.id, user_id=user_id)
    assert await refunds(database) == 0


async def test_resuming_before_the_worker_paused_lets_it_go_on(store: SqlTaskStore, user_id: int) -> None:
    lease = await running(store, user_id)
    await store.pause(lease.task.id, user_id=user_id)
    await store.resume(lease.task.id, user_id=user_id)
    assert await store.heartbeat(lease, lease_seconds=60) is Intent.GO_ON
    assert (await store.stop(lease, Intent.PAUSE)).status is TaskStatus.QUEUED


async def test_ended_tasks_cannot_be_steered(store: SqlTaskStore, user_id: int) -> None:
    lease = await running(store, user_id)
    await store.complete(lease, published(lease.task.id), duration_seconds=None)
    for wish in (store.cancel, store.pause, store.resume):
        with pytest.raises(IllegalTransition):
            await wish(lease.task.id, user_id=user_id)


# --- retries and the reaper ------------------------------------------------------------------------------------------


async def test_a_retry_waits_its_time_and_is_woken_once(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    lease = await running(store, user_id)
    await store.fail(lease, FAILURE, retry_in_seconds=8)
    assert await refunds(database) == 0
    assert await store.claim(lease.task.id, worker="w", lease_seconds=60) is None
    assert await store.reap() == []
    clock.advance(8)
    before = await SqlOutbox(database).backlog()
    assert await store.reap() == [lease.task.id]
    assert await store.reap() == []
    assert await SqlOutbox(database).backlog() == before + 1
    again = await store.claim(lease.task.id, worker="w", lease_seconds=60)
    assert again is not None
    assert (again.task.attempt, again.task.failure) == (2, None)


async def test_a_due_retry_needs_no_reaper(store: SqlTaskStore, user_id: int, clock: FakeClock) -> None:
    lease = await running(store, user_id)
    await store.fail(lease, FAILURE, retry_in_seconds=1)
    clock.advance(1)
    assert await store.claim_next(worker="w", lease_seconds=60, per_user_limit=1) is not None


async def test_a_task_that_takes_every_worker_with_it_fails_after_its_last_attempt(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    task = await queued(store, user_id)
    for attempt in range(1, 5):
        lease = await store.claim(task.id, worker=f"w{attempt}", lease_seconds=60)
        assert lease is not None
        assert lease.task.attempt == attempt
        clock.advance(60)
        assert await store.reap() == [task.id]
    ended = await store.get(task.id, user_id=user_id)
    assert ended.status is TaskStatus.FAILED
    assert ended.failure is not None
    assert ended.failure.reason == "worker_lost"
    assert (await refunds(database), await dead_letters(database)) == (1, 1)


@pytest.mark.parametrize(("wish", "status"), [("cancel", TaskStatus.CANCELLED), ("pause", TaskStatus.PAUSED)])
async def test_the_reaper_obeys_what_the_user_wished(
    store: SqlTaskStore, user_id: int, clock: FakeClock, wish: str, status: TaskStatus
) -> None:
    lease = await running(store, user_id)
    await getattr(store, wish)(lease.task.id, user_id=user_id)
    clock.advance(60)
    await store.reap()
    assert (await store.get(lease.task.id, user_id=user_id)).status is status


async def test_a_lost_wake_up_is_repeated_after_a_while(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    task = await queued(store, user_id)
    messages = await SqlOutbox(database).take(limit=10)
    await SqlOutbox(database).mark_sent([message.id for message in messages])  # and then the broker lost it
    clock.advance(REPEAT_WAKE_UP_SECONDS - 1)
    assert await store.reap() == []
    clock.advance(1)
    assert await store.reap() == [task.id]
    assert await SqlOutbox(database).backlog() == 1


async def test_parallel_reapers_count_nothing_twice(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    leases = [await running(store, user_id) for _ in range(5)]
    before = await SqlOutbox(database).backlog()
    clock.advance(60)
    reaped = await asyncio.gather(*(store.reap() for _ in range(4)))
    assert sorted(task_id for some in reaped for task_id in some) == sorted(lease.task.id for lease in leases)
    assert await SqlOutbox(database).backlog() == before + 5


async def test_a_restart_takes_everything_back_without_counting(store: SqlTaskStore, user_id: int) -> None:
    lease = await running(store, user_id)
    paused = await running(store, user_id)
    await store.pause(paused.task.id, user_id=user_id)
    for _ in range(10):
        await store.take_back_all()
        again = await store.claim(lease.task.id, worker="w", lease_seconds=60)
        assert again is not None
        assert again.task.attempt == 1
    assert (await store.get(paused.task.id, user_id=user_id)).status is TaskStatus.PAUSED


async def test_no_task_ends_the_process_for_ever(store: SqlTaskStore, user_id: int) -> None:
    task = await queued(store, user_id)
    for _ in range(MAX_CLAIMS):
        assert await store.claim(task.id, worker="w", lease_seconds=60) is not None
        await store.take_back_all()
    assert (await store.get(task.id, user_id=user_id)).status is TaskStatus.FAILED


# --- keeping ---------------------------------------------------------------------------------------------------------


async def test_a_kept_file_does_not_expire(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    lease = await running(store, user_id)
    with pytest.raises(IllegalTransition):
        await store.keep(lease.task.id, user_id=user_id)
    await store.complete(lease, published(lease.task.id), duration_seconds=None)
    for _ in range(2):
        assert (await store.keep(lease.task.id, user_id=user_id)).mode is Mode.ARCHIVE
    clock.advance(90_000)
    assert await SqlFileStore(database).expired(limit=10) == []


async def test_what_the_janitor_has_begun_to_remove_cannot_be_kept(
    store: SqlTaskStore, database: Database, user_id: int, clock: FakeClock
) -> None:
    lease = await running(store, user_id)
    await store.complete(lease, published(lease.task.id), duration_seconds=None)
    clock.advance(90_000)
    assert len(await SqlFileStore(database).expired(limit=10)) == 1
    with pytest.raises(IllegalTransition):
        await store.keep(lease.task.id, user_id=user_id)


async def test_a_retry_waits_by_the_databases_clock(store: SqlTaskStore, user_id: int, clock: FakeClock) -> None:
    """Workers whose clocks are wrong must neither retry at once nor an hour late, so they say how long and not until when."""
    lease = await running(store, user_id)
    task = await store.fail(lease, FAILURE, retry_in_seconds=8)
    assert task.not_before == clock.now() + timedelta(seconds=8)
