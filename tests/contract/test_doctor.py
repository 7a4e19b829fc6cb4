"""``vasset doctor`` finds what was broken on purpose, repairs what can be proven, and touches nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from tests.support.builders import add_user, submission
from tests.support.clock import FakeClock
from vasset.adapters.db.audit import SqlAudit
from vasset.adapters.db.database import Database
from vasset.adapters.db.files import SqlFileStore
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tables import download_history, outbox, quota_ledger, tasks, user_quotas, user_totals
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.adapters.storage.listing import DiskListing
from vasset.adapters.storage.local import LocalStorage
from vasset.domain.audit import Finding
from vasset.domain.download import Lease, Mode, TaskFailure, TaskStatus
from vasset.domain.history import PublishedFile
from vasset.domain.user import Role
from vasset.usecases.doctor import Doctor

CONTENT = b"the one true version"


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database, TaskPolicy())


@pytest.fixture
def storage(tmp_path: Path, clock: FakeClock) -> LocalStorage:
    return LocalStorage(tmp_path / "data", clock, alert_percent=100)


@pytest.fixture
def doctor(database: Database, storage: LocalStorage) -> Doctor:
    return Doctor(SqlAudit(database), SqlFileStore(database), storage, DiskListing(storage.root), storage.workspaces)


@pytest.fixture
async def user_id(database: Database) -> int:
    return await add_user(database)


async def running(store: SqlTaskStore, user_id: int, mode: Mode = Mode.QUICK) -> Lease:
    task = (await store.submit(submission(user_id, mode=mode), role=Role.FREE, idempotency_key=None)).task
    lease = await store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    return lease


async def finished(store: SqlTaskStore, storage: LocalStorage, user_id: int, mode: Mode = Mode.QUICK) -> PublishedFile:
    lease = await running(store, user_id, mode)
    source = storage.workspace(lease.task.id, lease.fence) / "merged.mp4"
    source.write_bytes(CONTENT)
    file = await storage.publish(source, lease, title="Title", ext="mp4", digest=("blake3", "ab" * 32))
    await store.complete(lease, file, duration_seconds=None)
    await storage.discard_workspace(lease.task.id)
    return file


async def failed(store: SqlTaskStore, user_id: int) -> str:
    lease = await running(store, user_id)
    await store.fail(lease, TaskFailure("task_failed", "no", retryable=False), retry_in_seconds=None)
    return lease.task.id


def checks(findings: Sequence[Finding]) -> list[str]:
    return [finding.check for finding in findings]


async def test_a_healthy_system_has_nothing_to_report(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, user_id: int
) -> None:
    await finished(store, storage, user_id)
    await finished(store, storage, user_id, Mode.ARCHIVE)
    await failed(store, user_id)
    lease = await running(store, user_id)
    (storage.workspace(lease.task.id, lease.fence) / "half.part").write_bytes(b"x")
    assert await doctor.examine() == []


async def test_broken_rows_are_found_and_mended(
    doctor: Doctor, store: SqlTaskStore, database: Database, user_id: int
) -> None:
    unfunded, task_id = await failed(store, user_id), await failed(store, user_id)
    async with database.write() as transaction:
        await transaction.execute(
            delete(quota_ledger).where(quota_ledger.c.task_id == unfunded, quota_ledger.c.kind == "refund")
        )
        await transaction.execute(
            update(download_history).where(download_history.c.task_id == task_id).values(status=TaskStatus.QUEUED)
        )
        await transaction.execute(update(user_quotas).values(daily_used=7))
        await transaction.execute(update(user_totals).values(completed=7))
        await transaction.execute(
            insert(outbox).values(routing_key="download.quick", task_id="gone", body={}, created_at=transaction.now)
        )
    assert sorted(checks(await doctor.examine())) == ["counter", "outbox", "refund", "status", "totals"]
    assert all(finding.repaired for finding in await doctor.examine(fix=True))
    assert await doctor.examine(fix=True) == []


async def test_a_missing_file_is_forgotten_by_its_row(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, user_id: int
) -> None:
    file = await finished(store, storage, user_id)
    kept = await finished(store, storage, user_id, Mode.ARCHIVE)
    (storage.root / file.relative_path).unlink()
    (finding,) = await doctor.examine()
    assert (finding.check, finding.repaired) == ("missing_file", False)
    assert checks(await doctor.examine(fix=True)) == ["missing_file"]
    assert await doctor.examine() == []
    assert (storage.root / kept.relative_path).read_bytes() == CONTENT


async def test_a_file_of_the_wrong_size_is_reported_and_left(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, user_id: int
) -> None:
    file = await finished(store, storage, user_id)
    (storage.root / file.relative_path).write_bytes(b"cut")
    for fix in (False, True):
        (finding,) = await doctor.examine(fix=fix)
        assert (finding.check, finding.repaired) == ("wrong_size", False)


async def test_an_unknown_temporary_file_goes_and_an_unknown_archive_file_stays(
    doctor: Doctor, storage: LocalStorage
) -> None:
    orphan, treasure = storage.root / "tmp" / "old" / "x.mp4", storage.root / "archive" / "1" / "20260101" / "y.mp4"
    for path in (orphan, treasure):
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
    found = await doctor.examine(fix=True)
    assert [(finding.check, finding.repaired) for finding in found] == [("unknown_file", False), ("unknown_file", True)]
    assert treasure.exists()
    assert not orphan.exists()
    assert checks(await doctor.examine()) == ["unknown_file"]


async def test_nothing_of_a_running_download_is_touched(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, user_id: int
) -> None:
    """Published an instant ago, its row not yet written."""
    for mode in Mode:
        lease = await running(store, user_id, mode)
        source = storage.workspace(lease.task.id, lease.fence) / "merged.mp4"
        source.write_bytes(CONTENT)
        file = await storage.publish(source, lease, title="Title", ext="mp4", digest=("blake3", "ab" * 32))
        assert await doctor.examine(fix=True) == []
        await store.complete(lease, file, duration_seconds=None)
        assert [finding.is_note for finding in await doctor.examine()] == [True]  # its empty workspace
        await storage.discard_workspace(lease.task.id)
    assert await doctor.examine() == []


async def test_workspaces_nobody_needs_go(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, user_id: int
) -> None:
    ended = await failed(store, user_id)
    storage.workspace(ended, 1)
    storage.workspace("00000000-0000-0000-0000-000000000000", 1)
    found = await doctor.examine(fix=True)
    assert sorted((finding.check, finding.is_note) for finding in found) == [("workspace", False), ("workspace", True)]
    assert await doctor.examine() == []


async def test_a_lost_lease_and_an_unmoved_file_are_notes(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, database: Database, user_id: int, clock: FakeClock
) -> None:
    file = await finished(store, storage, user_id)
    await store.keep(file.relative_path.split("/")[1], user_id=user_id)
    await running(store, user_id)
    clock.advance(121)
    assert sorted((finding.check, finding.is_note) for finding in await doctor.examine()) == [
        ("lease", True),
        ("unmoved", True),
    ]
    assert (storage.root / file.relative_path).exists()


async def test_impossible_rows_are_reported_but_not_guessed_at(
    doctor: Doctor, store: SqlTaskStore, storage: LocalStorage, database: Database, user_id: int
) -> None:
    file = await finished(store, storage, user_id)
    fileless = await finished(store, storage, user_id)
    undebited = await failed(store, user_id)
    async with database.write() as transaction:
        await transaction.execute(
            update(tasks)
            .where(tasks.c.id == file.relative_path.split("/")[1])
            .values(status=TaskStatus.QUEUED, completed_at=None)
        )
        await transaction.execute(
            update(download_history)
            .where(download_history.c.file_path == fileless.relative_path)
            .values(file_path=None)
        )
        await transaction.execute(update(tasks).where(tasks.c.id == undebited).values(debits=2))
    found = checks(await doctor.examine())
    assert {"early_file", "fileless", "debits"} <= set(found)
