"""What a user sees of finished downloads, and what becomes of their files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.builders import add_user, published, submission
from tests.support.clock import FakeClock
from tests.support.service_ends import ENDS, TOKEN, behind_grpc
from vasset.adapters.db.database import Database
from vasset.adapters.db.files import SqlFileStore
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.domain.download import Mode, Task, TaskFailure
from vasset.domain.errors import IllegalTransition, InvalidInput, NotFound
from vasset.domain.history import PublishedFile
from vasset.domain.ports import Library
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Identity, Role
from vasset.services.asset import client
from vasset.services.asset.service import MAX_ID, LibraryService
from vasset.services.asset.servicer import AssetServicer
from vasset.services.proto import asset_pb2, asset_pb2_grpc

QUOTA = QuotaPolicy({Role.FREE: 5, Role.ADMIN: 100})


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database, TaskPolicy(quota=QuotaPolicy({Role.FREE: 1_000})))


@pytest.fixture
def files(database: Database) -> SqlFileStore:
    return SqlFileStore(database)


@pytest.fixture(params=ENDS)
async def library(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Library]:
    """The service itself, and its client behind gRPC: one signature, one behaviour."""
    service = LibraryService(SqlLibrary(database, QUOTA))
    if request.param == "local":
        yield service
        return
    descriptor = asset_pb2.DESCRIPTOR.services_by_name["AssetService"]
    register = asset_pb2_grpc.add_AssetServiceServicer_to_server
    async with behind_grpc(register, AssetServicer(service), descriptor, client.IDEMPOTENT) as channel:
        yield client.AssetClient(channel, TOKEN, timeout_seconds=30)


@pytest.fixture
async def me(database: Database) -> Identity:
    return Identity(await add_user(database), Role.FREE, 1)


async def finished(store: SqlTaskStore, me: Identity, *, mode: Mode = Mode.QUICK, title: str = "Title") -> Task:
    asked = submission(me.user_id, mode=mode, title=title)
    task = (await store.submit(asked, role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    return await store.complete(lease, published(task.id), duration_seconds=None)


async def test_history_is_searched_without_wildcards(library: Library, store: SqlTaskStore, me: Identity) -> None:
    for title in ("100% Cats", "1000 cats", "Dogs_and", "Dogs and"):
        await finished(store, me, title=title)
    assert [entry.title for entry in (await library.history(me, query="100% c")).items] == ["100% Cats"]
    assert [entry.title for entry in (await library.history(me, query="s_a")).items] == ["Dogs_and"]
    assert (await library.history(me, query="' OR 1=1 --")).total == 0
    assert (await library.history(me, query="\0\ud800")).total == 0
    assert (await library.history(me, page=2, per_page=3)).total == 4


@pytest.mark.parametrize(
    "asked", ["über", "Über", "UBER", "сделано", "СДЕЛАНО", "zürich", "zurich", "ZÜRICH", "u\u0308ber", "tiêng", "Ψυχη"]
)
async def test_history_is_searched_without_regard_to_case_and_accents(
    library: Library, store: SqlTaskStore, me: Identity, asked: str
) -> None:
    """SQLite alone knows the letters of ASCII only."""
    await finished(store, me, title="Über сделано Zürich Tiếng Ψυχή")
    await finished(store, me, title="something else")
    assert (await library.history(me, query=asked)).total == 1


async def test_impossible_pages_and_ids_are_refused_in_words(library: Library, me: Identity) -> None:
    for page, per_page in ((0, 20), (-1, 20), (1, 0), (1, 101), (2**63, 20)):
        with pytest.raises(InvalidInput):
            await library.history(me, page=page, per_page=per_page)
    for history_id in (0, -1, 1, MAX_ID, MAX_ID + 1, 2**200):
        with pytest.raises(NotFound):
            await library.entry(me, history_id)
        with pytest.raises(NotFound):
            await library.delete(me, history_id)


async def test_nobody_sees_or_deletes_anothers_entry(
    library: Library, store: SqlTaskStore, database: Database, me: Identity
) -> None:
    task = await finished(store, me)
    for role in (Role.FREE, Role.ADMIN):
        other = Identity(await add_user(database, role=role), role, 2)
        with pytest.raises(NotFound):
            await library.entry(other, task.history_id)
        with pytest.raises(NotFound):
            await library.delete(other, task.history_id)
        assert (await library.history(other)).total == 0
    assert (await library.entry(me, task.history_id)).file_path is not None


async def test_a_deleted_entry_is_gone_and_its_file_follows(
    library: Library, store: SqlTaskStore, files: SqlFileStore, me: Identity
) -> None:
    task = await finished(store, me, mode=Mode.ARCHIVE)
    deleted = await library.delete(me, task.history_id)
    assert deleted.file_path == f"tmp/{task.id}/Title.mp4"
    with pytest.raises(NotFound):
        await library.entry(me, task.history_id)
    with pytest.raises(NotFound):
        await store.get(task.id, user_id=me.user_id)
    with pytest.raises(NotFound):
        await library.delete(me, task.history_id)
    for _ in range(2):  # until it is forgotten it comes again
        assert [entry.id for entry in await files.expired(limit=10)] == [task.history_id]
    await files.forget_file(task.history_id, reason="deleted")
    assert await files.expired(limit=10) == []


async def test_an_unfinished_download_cannot_be_deleted(library: Library, store: SqlTaskStore, me: Identity) -> None:
    task = (await store.submit(submission(me.user_id), role=Role.FREE, idempotency_key=None)).task
    with pytest.raises(IllegalTransition):
        await library.delete(me, task.history_id)
    await store.cancel(task.id, user_id=me.user_id)
    await library.delete(me, task.history_id)


async def test_only_quick_files_past_their_time_expire(
    library: Library, store: SqlTaskStore, files: SqlFileStore, me: Identity, clock: FakeClock
) -> None:
    quick = await finished(store, me)
    await finished(store, me, mode=Mode.ARCHIVE)
    clock.advance(86_399)
    assert await files.expired(limit=10) == []
    clock.advance(1)
    late = await finished(store, me)
    (entry,) = await files.expired(limit=10)
    assert entry.id == quick.history_id
    assert entry.file_path == f"tmp/{quick.id}/Title.mp4"
    assert (await library.entry(me, quick.history_id)).file_path is None  # readers must not race the unlink
    assert (await library.entry(me, late.history_id)).file_path is not None
    await files.forget_file(quick.history_id, reason="expired")
    assert (await library.entry(me, quick.history_id)).file_name == "Title.mp4"


async def test_parallel_janitors_agree(
    store: SqlTaskStore, files: SqlFileStore, me: Identity, clock: FakeClock
) -> None:
    tasks = [await finished(store, me) for _ in range(3)]
    clock.advance(90_000)
    rounds = await asyncio.gather(*(files.expired(limit=10) for _ in range(3)))
    assert {entry.id for entries in rounds for entry in entries} == {task.history_id for task in tasks}


async def test_a_kept_file_is_moved_once_its_row_follows(
    store: SqlTaskStore, files: SqlFileStore, library: Library, me: Identity
) -> None:
    task = await finished(store, me)
    await store.keep(task.id, user_id=me.user_id)
    (entry,) = await files.misplaced(limit=10)
    moved = PublishedFile("archive/1/20260304/Title.mp4", "Title.mp4", 10, "ab" * 32, "blake3")
    assert await files.promote(entry.id, moved)
    assert await files.misplaced(limit=10) == []
    assert (await library.entry(me, task.history_id)).file_path == moved.relative_path
    await library.delete(me, task.history_id)
    assert not await files.promote(entry.id, moved)


async def test_every_file_is_listed_once(store: SqlTaskStore, files: SqlFileStore, me: Identity) -> None:
    tasks = [await finished(store, me) for _ in range(3)]
    assert [pair async for pair in files.known_paths()] == [
        (task.history_id, f"tmp/{task.id}/Title.mp4") for task in tasks
    ]


async def test_totals_are_a_users_own_and_an_administrators_all(
    library: Library, store: SqlTaskStore, database: Database, me: Identity, clock: FakeClock
) -> None:
    assert (await library.statistics(me)).success_rate is None
    await finished(store, me)
    clock.advance(86_400)
    await finished(store, me)
    failing = (await store.submit(submission(me.user_id), role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(failing.id, worker="w", lease_seconds=60)
    assert lease is not None
    await store.fail(lease, TaskFailure("task_failed", "no", retryable=False), retry_in_seconds=None)
    admin = Identity(await add_user(database, role=Role.ADMIN), Role.ADMIN, 2)
    await finished(store, admin)
    mine, all_of_it = await library.statistics(me), await library.statistics(admin)
    assert mine.tasks_by_status == {"completed": 2, "failed": 1}
    assert (mine.downloaded_bytes, mine.stored_bytes, mine.completed_today) == (20, 20, 1)
    assert mine.success_rate == pytest.approx(2 / 3)
    assert (all_of_it.downloaded_bytes, all_of_it.completed_today) == (30, 2)


async def test_quota_tells_the_limit_of_the_level_and_when_it_resets(
    library: Library, store: SqlTaskStore, database: Database, me: Identity, clock: FakeClock
) -> None:
    await store.submit(submission(me.user_id), role=Role.FREE, idempotency_key=None)
    quota = await library.quota(me)
    assert (quota.daily_limit, quota.daily_used, quota.remaining) == (5, 1, 4)
    assert (quota.reset_at - clock.now()).total_seconds() == 12 * 3600
    assert await SqlLibrary(database, QUOTA).quota_usage() == pytest.approx(1 / 1_000)
    clock.advance(12 * 3600)
    assert (await library.quota(me)).daily_used == 0
    assert await SqlLibrary(database, QUOTA).quota_usage() == 0
