"""A message is relayed at least once, by one relay at a time."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.builders import add_user, submission
from tests.support.clock import FakeClock
from vasset.adapters.db.database import Database
from vasset.adapters.db.outbox import RELAY_SECONDS, SqlOutbox
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.download import TaskFailure
from vasset.domain.user import Role

SECRET_URL = "https://alice:pa55@videos.example/watch?v=1&token=s3cr3t#frag"


@pytest.fixture
async def outbox(database: Database) -> SqlOutbox:
    store, user_id = SqlTaskStore(database, TaskPolicy()), await add_user(database)
    for _ in range(10):
        await store.submit(submission(user_id), role=Role.FREE, idempotency_key=None)
    return SqlOutbox(database)


async def test_messages_come_oldest_first_and_leave_when_sent(outbox: SqlOutbox) -> None:
    first = await outbox.take(limit=4)
    assert [message.id for message in first] == sorted(message.id for message in first)
    await outbox.mark_sent([message.id for message in first])
    await outbox.mark_sent([])
    assert await outbox.backlog() == 6
    rest = await outbox.take(limit=100)
    assert len(rest) == 6
    assert not {message.id for message in first} & {message.id for message in rest}


async def test_two_relays_never_hold_the_same_message(outbox: SqlOutbox) -> None:
    taken = await asyncio.gather(*(outbox.take(limit=3) for _ in range(4)))
    ids = [message.id for some in taken for message in some]
    assert len(ids) == len(set(ids))


async def test_what_a_dead_relay_took_comes_back(outbox: SqlOutbox, clock: FakeClock) -> None:
    taken = await outbox.take(limit=10)
    assert await outbox.take(limit=10) == []
    await outbox.mark_sent([taken[0].id])
    clock.advance(RELAY_SECONDS)
    assert [message.id for message in await outbox.take(limit=10)] == [message.id for message in taken[1:]]


async def test_a_dead_letter_names_the_failure_and_no_secret(database: Database) -> None:
    store, user_id = SqlTaskStore(database, TaskPolicy()), await add_user(database)
    task = (await store.submit(submission(user_id, url=SECRET_URL), role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    await store.fail(lease, TaskFailure("extraction_failed", "private video", retryable=False), retry_in_seconds=None)
    letter = (await SqlOutbox(database).take(limit=10))[-1]
    assert letter.routing_key == "download.dead"
    assert letter.body["url"] == "https://videos.example/watch"
    assert letter.body["error"] == {"reason": "extraction_failed", "message": "private video", "attempts": 1}
