"""Disk relief through the real engine: which files go, which stay, which rows are forgotten."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from vasset.adapters.storage.eviction import DiskRelief
from vasset.domain.download import Mode, TaskStatus
from vasset.domain.errors import StorageFailed
from vasset.domain.history import HistoryEntry, PublishedFile


class Rows:
    """The rows of expired files; a row is gone from the list once it is forgotten."""

    def __init__(self, entries: Sequence[HistoryEntry]) -> None:
        self.entries = list(entries)
        self.forgotten: list[int] = []

    async def expired(self, *, limit: int) -> Sequence[HistoryEntry]:
        return self.entries[:limit]

    async def forget_file(self, history_id: int, *, reason: str) -> None:
        self.forgotten.append(history_id)
        self.entries = [entry for entry in self.entries if entry.id != history_id]

    async def known_paths(self) -> AsyncIterator[tuple[int, str]]:
        for entry in self.entries:
            yield entry.id, entry.file_path or ""

    async def misplaced(self, *, limit: int) -> Sequence[HistoryEntry]:
        return ()

    async def promote(self, history_id: int, file: PublishedFile) -> bool:
        return False


def entry(number: int, clock: FakeClock, path: str | None = None, mode: Mode = Mode.QUICK) -> HistoryEntry:
    return HistoryEntry(
        id=number,
        task_id=f"task{number}",
        user_id=1,
        url="https://site.test/watch",
        title=None,
        mode=mode,
        status=TaskStatus.COMPLETED,
        created_at=clock.now() - timedelta(days=2),
        expire_at=clock.now() - timedelta(hours=number),
        file_path=path or f"tmp/task{number}/video.mp4",
    )


def place(root: Path, entries: Sequence[HistoryEntry]) -> None:
    for each in entries:
        path = root / (each.file_path or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 4096)


def relief(root: Path, rows: Rows, clock: FakeClock, *, clean: float = 0.0, target: float = 0.0) -> DiskRelief:
    """A clean mark of 0 % is always passed, a target of 0 % never reached."""
    return DiskRelief(root, rows, clock, clean_percent=clean, target_percent=target)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_expired_files_go_with_their_folders_and_rows(tmp_path: Path, clock: FakeClock) -> None:
    entries = [entry(number, clock) for number in range(1, 4)]
    place(tmp_path, entries)
    rows = Rows(entries)
    relieved = await relief(tmp_path, rows, clock).relieve()
    assert (relieved.freed_files, relieved.freed_bytes) == (3, 3 * 4096)
    assert rows.forgotten == [1, 2, 3]
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_below_the_mark_nothing_is_touched(tmp_path: Path, clock: FakeClock) -> None:
    rows = Rows([entry(1, clock)])
    place(tmp_path, rows.entries)
    relieved = await relief(tmp_path, rows, clock, clean=101.0, target=101.0).relieve()
    assert (relieved.reached_target, relieved.freed_files, rows.forgotten) == (True, 0, [])
    assert (tmp_path / "tmp/task1/video.mp4").exists()


async def test_archive_files_stay_even_if_a_row_says_otherwise(tmp_path: Path, clock: FakeClock) -> None:
    rows = Rows([entry(1, clock, "archive/1/20260101/video.mp4"), entry(2, clock, mode=Mode.ARCHIVE)])
    place(tmp_path, rows.entries)
    relieved = await relief(tmp_path, rows, clock).relieve()
    assert relieved.freed_files == 0
    assert dict(relieved.kept) == {"archive/1/20260101/video.mp4": "archive", "tmp/task2/video.mp4": "archive"}
    assert rows.forgotten == []


async def test_a_streamed_and_a_locked_file_stay_until_they_are_released(tmp_path: Path, clock: FakeClock) -> None:
    rows = Rows([entry(1, clock), entry(2, clock)])
    place(tmp_path, rows.entries)
    with (tmp_path / "tmp/task1/video.mp4").open("rb"), (tmp_path / "tmp/task2/video.mp4").open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        relieved = await relief(tmp_path, rows, clock).relieve()
    assert dict(relieved.kept) == {"tmp/task1/video.mp4": "open", "tmp/task2/video.mp4": "locked"}
    assert rows.forgotten == []
    assert (await relief(tmp_path, rows, clock).relieve()).freed_files == 2


async def test_a_row_whose_file_is_gone_is_forgotten(tmp_path: Path, clock: FakeClock) -> None:
    rows = Rows([entry(1, clock)])
    await relief(tmp_path, rows, clock)()
    assert rows.forgotten == [1]


async def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    root = tmp_path / "data"
    root.mkdir()
    (root / "tmp").symlink_to(tmp_path)
    rows = Rows(
        [entry(1, clock, "../secret"), entry(2, clock, "tmp/secret"), entry(3, clock, str(tmp_path / "secret"))]
    )
    relieved = await relief(root, rows, clock).relieve()
    assert (relieved.freed_files, len(relieved.kept)) == (0, 3)
    assert (tmp_path / "secret").exists()


async def test_a_missing_folder_is_a_storage_failure_that_names_it(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(StorageFailed, match="missing"):
        await relief(tmp_path / "missing", Rows([]), clock).relieve()


async def test_many_rows_are_worked_off_in_batches(tmp_path: Path, clock: FakeClock) -> None:
    entries = [replace(entry(number, clock), file_path=f"tmp/{number % 7}/{number}.mp4") for number in range(1, 1_101)]
    place(tmp_path, entries)
    rows = Rows(entries)
    assert (await relief(tmp_path, rows, clock).relieve()).freed_files == 1_100
    assert rows.entries == []
