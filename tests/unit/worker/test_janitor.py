"""Cleaning: only what a row proves to be over, and nothing while SQL is silent (P14)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import pytest

from tests.unit.worker.conftest import LEASE_SECONDS, Surroundings
from vasset.adapters.db.files import SqlFileStore
from vasset.adapters.db.policy import KeepTimes
from vasset.adapters.db.retention import SqlRetention
from vasset.domain.download import Mode, TaskStatus
from vasset.domain.errors import DependencyDown
from vasset.domain.history import HistoryEntry
from vasset.worker.janitor import Janitor, JanitorTimes

DAY = 86_400.0


class Relief:
    """The engine's disk-pressure cleanup, counted."""

    calls = 0

    async def __call__(self) -> None:
        self.calls += 1


def janitor_of(around: Surroundings, *, clean_percent: float = 101.0, relieve: Relief | None = None) -> Janitor:
    return Janitor(
        around.store,
        SqlFileStore(around.store._database),
        around.storage,
        around.storage.workspaces,
        SqlRetention(around.store._database, KeepTimes()),
        around.clock,
        times=JanitorTimes(),
        clean_percent=clean_percent,
        relieve=relieve,
    )


async def completed(around: Surroundings, mode: Mode = Mode.QUICK) -> str:
    task = await around.submit(mode=mode)
    await around.run(await around.claim()).run()
    return task.id


async def test_a_quick_file_goes_after_its_day_and_its_history_stays(around: Surroundings) -> None:
    task_id = await completed(around)
    janitor = janitor_of(around)
    around.clock.advance(DAY - 60)
    assert (await janitor.clean()).expired == 0
    assert len(around.files()) == 1
    around.clock.advance(120)
    assert (await janitor.clean()).expired == 1
    assert around.files() == []
    assert (await around.task(task_id)).status is TaskStatus.COMPLETED


async def test_an_archive_file_is_never_cleaned(around: Surroundings) -> None:
    await completed(around, Mode.ARCHIVE)
    around.clock.advance(400 * DAY)
    janitor = janitor_of(around)
    await janitor.clean()
    assert len(around.files()) == 1


async def test_a_kept_quick_file_moves_to_the_archive_and_outlives_its_day(around: Surroundings) -> None:
    task_id = await completed(around)
    await around.store.keep(task_id, user_id=around.users[0])
    janitor = janitor_of(around)
    assert (await janitor.clean()).kept == 1
    around.clock.advance(400 * DAY)
    await janitor.clean()
    assert [name.split("/")[0] for name in around.files()] == ["archive"]
    assert (await janitor.clean()).kept == 0


async def test_a_reader_of_an_expired_file_reads_on_to_its_end(around: Surroundings) -> None:
    await completed(around)
    descriptor = around.storage.open(around.files()[0])
    around.clock.advance(2 * DAY)
    await janitor_of(around).clean()
    assert os.read(descriptor, 100) == b"the one true version"
    os.close(descriptor)


async def test_unfinished_files_go_only_when_their_task_has_ended(around: Surroundings) -> None:
    running = await around.submit()
    lease = await around.claim()
    around.storage.workspace(running.id, lease.fence)
    unknown = around.storage.workspace("unknown-to-sql", 1)
    cancelled = await around.submit()
    around.storage.workspace(cancelled.id, 0)
    await around.store.cancel(cancelled.id, user_id=around.users[0])
    assert (await janitor_of(around).clean()).folders == 1
    assert around.storage.workspaces.fences(running.id) == [1]
    assert around.storage.workspaces.fences(cancelled.id) == []
    assert unknown.is_dir(), "what SQL does not know is not proven to be garbage"


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_file_published_before_a_crash_goes_when_its_task_was_cancelled(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    """K10 and a cancel: the rename happened, the row will never name the file."""
    task = await around.submit(mode=mode)
    lease = await around.claim()

    async def die(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(around.store, "complete", die)
        with pytest.raises(asyncio.CancelledError):
            await around.run(lease).run()
    assert len(around.files()) == 1
    await around.store.cancel(task.id, user_id=around.users[0])
    around.clock.advance(LEASE_SECONDS + 1)
    await around.store.reap()
    assert (await around.task(task.id)).status is TaskStatus.CANCELLED
    await janitor_of(around).clean()
    assert around.files() == []
    assert around.storage.workspaces.unfinished() == []


async def test_nothing_is_deleted_while_sql_does_not_answer(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await completed(around)
    around.clock.advance(2 * DAY)
    janitor = janitor_of(around)

    async def down(self: SqlFileStore, *, limit: int) -> Sequence[HistoryEntry]:
        raise DependencyDown

    monkeypatch.setattr(SqlFileStore, "expired", down)
    with pytest.raises(DependencyDown):
        await janitor.clean()
    assert len(around.files()) == 1


async def test_a_clock_that_jumps_expires_nothing_in_that_round(around: Surroundings) -> None:
    await completed(around)
    janitor = janitor_of(around)
    await janitor.clean()
    around.clock.step_wall(30 * DAY)
    assert (await janitor.clean()).expired == 0
    assert len(around.files()) == 1


@pytest.mark.parametrize(("clean_percent", "calls"), [(0.0, 1), (101.0, 0)])
async def test_the_disk_is_relieved_only_above_its_watermark(
    around: Surroundings, clean_percent: float, calls: int
) -> None:
    relief = Relief()
    await janitor_of(around, clean_percent=clean_percent, relieve=relief).clean()
    assert relief.calls == calls


async def test_a_task_whose_worker_died_is_queued_again(around: Surroundings) -> None:
    task = await around.submit()
    await around.claim()
    janitor = janitor_of(around)
    assert await janitor.reap() == 0
    around.clock.advance(LEASE_SECONDS + 1)
    assert await janitor.reap() == 1
    assert (await around.task(task.id)).status is TaskStatus.QUEUED
