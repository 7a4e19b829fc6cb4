"""Publishing, reading back and taking over below the data folder (F30, F31, F37–F40; P3, P5, P14)."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from vasset.adapters.storage import beneath
from vasset.adapters.storage.local import LocalStorage
from vasset.domain.download import Lease, Mode, Phase, Task, TaskStatus
from vasset.domain.errors import DiskFull, DiskPressure, LeaseLost, NotFound, StorageFailed
from vasset.domain.history import HistoryEntry
from vasset.domain.media import Container

DIGEST = ("blake3", "00" * 32)
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def lease_of(task_id: str, fence: int = 1, mode: Mode = Mode.QUICK, user_id: int = 7) -> Lease:
    task = Task(
        id=task_id, user_id=user_id, history_id=1, url="http://site.test/v", mode=mode, quality="best",
        container=Container.MP4, status=TaskStatus.RUNNING, phase=Phase.DOWNLOADING, attempt=1, fence=fence,
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    return Lease(task, "worker", fence)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "data", FakeClock())


def fetched(storage: LocalStorage, lease: Lease, content: bytes = b"bytes") -> Path:
    source = storage.workspace(lease.task.id, lease.fence) / "stream.mp4"
    source.write_bytes(content)
    return source


async def test_a_quick_download_is_published_in_its_task_folder(storage: LocalStorage) -> None:
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A/B", ext="mp4", digest=DIGEST)
    assert file.relative_path == "tmp/t1/A_B.mp4"
    assert storage.resolve(file.relative_path).read_bytes() == b"bytes"


async def test_an_archive_download_is_published_by_user_and_day(storage: LocalStorage) -> None:
    lease = lease_of("t1", mode=Mode.ARCHIVE)
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    assert file.relative_path == "archive/7/20260304/A_20260304120000.mp4"


async def test_an_existing_name_is_never_replaced(storage: LocalStorage) -> None:
    """F30, F31: the second file of one name gets a number."""
    names = []
    for task_id in ("t1", "t2", "t3"):
        lease = lease_of(task_id, mode=Mode.ARCHIVE)
        source = fetched(storage, lease, task_id.encode())
        names.append((await storage.publish(source, lease, title="A", ext="mp4", digest=DIGEST)).relative_path)
    assert [Path(name).name for name in names] == [
        "A_20260304120000.mp4", "A_20260304120000 (2).mp4", "A_20260304120000 (3).mp4",
    ]  # fmt: skip
    assert [storage.resolve(name).read_bytes() for name in names] == [b"t1", b"t2", b"t3"]


async def test_a_taken_over_worker_can_neither_publish_nor_reenter(storage: LocalStorage) -> None:
    stale, current = lease_of("t1", 1), lease_of("t1", 2)
    source = fetched(storage, stale)
    taken = storage.workspace("t1", current.fence)
    assert (taken / "stream.mp4").read_bytes() == b"bytes", "the new worker goes on with what was there"
    with pytest.raises(LeaseLost):
        await storage.publish(source, stale, title="A", ext="mp4", digest=DIGEST)
    with pytest.raises(LeaseLost):
        storage.workspace("t1", stale.fence)
    assert [path.name for path in (storage.root / "tmp/t1").iterdir()] == [".work-2"]


async def test_a_publication_without_its_row_is_found_by_the_next_worker(storage: LocalStorage) -> None:
    """K9, K10: the rename happened, the row did not."""
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    storage.workspace("t1", 2)
    assert storage.published("t1", 2) == file


async def test_a_publication_cut_off_before_its_rename_is_not_believed(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K8: the note is written, the rename never ran."""
    lease = lease_of("t1")
    source = fetched(storage, lease)

    def die(*_: Path) -> None:
        raise OSError(5, "power cut")

    monkeypatch.setattr("vasset.adapters.storage.local.rename_no_replace", die)
    with pytest.raises(StorageFailed):
        await storage.publish(source, lease, title="A", ext="mp4", digest=DIGEST)
    workspace = storage.workspace("t1", 2)
    assert storage.published("t1", 2) is None
    assert (workspace / "stream.mp4").exists()


async def test_discarding_with_an_old_fence_leaves_a_newer_workspace(storage: LocalStorage) -> None:
    storage.workspace("t1", 3)
    await storage.discard_workspace("t1", fence=2)
    assert (storage.root / "tmp/t1/.work-3").is_dir()
    await storage.discard_workspace("t1", fence=3)
    assert not (storage.root / "tmp/t1").exists()


async def test_discarding_keeps_what_was_published(storage: LocalStorage) -> None:
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    await storage.discard_workspace("t1")
    assert storage.resolve(file.relative_path).exists()


async def test_withdrawing_removes_a_publication_no_row_will_name(storage: LocalStorage) -> None:
    lease = lease_of("t1", mode=Mode.ARCHIVE)
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    await storage.discard_workspace("t1", fence=lease.fence, withdraw=True)
    assert not (storage.root / file.relative_path).exists()
    assert not (storage.root / "tmp/t1").exists()


async def test_withdrawing_leaves_another_file_that_has_the_name_by_now(storage: LocalStorage) -> None:
    lease = lease_of("t1", mode=Mode.ARCHIVE)
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    target = storage.root / file.relative_path
    target.unlink()
    target.write_bytes(b"bytes")  # as many, by somebody else
    await storage.discard_workspace("t1", withdraw=True)
    assert target.read_bytes() == b"bytes"


async def test_withdrawing_leaves_the_workspace_of_whoever_took_over(storage: LocalStorage) -> None:
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    storage.workspace("t1", 2)
    await storage.discard_workspace("t1", fence=1, withdraw=True)
    assert storage.published("t1", 2) == file


async def test_withdrawing_leaves_what_a_later_worker_is_just_discarding(storage: LocalStorage) -> None:
    """It took the file over, wrote its row, and was killed (or is still busy) between renaming its folder and removing it."""
    lease = lease_of("t1", mode=Mode.ARCHIVE)
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    storage.workspace("t1", 2).rename(storage.root / "tmp/t1/.gone-2")
    await storage.discard_workspace("t1", fence=1, withdraw=True)
    assert storage.resolve(file.relative_path).read_bytes() == b"bytes"
    await storage.discard_workspace("t1", fence=2)
    assert not (storage.root / "tmp/t1").exists()


async def test_a_workspace_discarded_in_the_moment_of_its_takeover_is_begun_afresh(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.workspace("t1", 1)
    seen = storage.workspaces.fences

    def then_it_goes(task_id: str) -> list[int]:
        found = seen(task_id)
        shutil.rmtree(storage.root / "tmp" / task_id)
        return found

    monkeypatch.setattr(storage.workspaces, "fences", then_it_goes)
    assert list(storage.workspace("t1", 2).iterdir()) == []


async def test_a_discard_that_was_cut_off_is_finished_by_the_next(storage: LocalStorage) -> None:
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    folder = storage.root / "tmp/t1"
    (folder / ".work-1").rename(folder / ".gone-1")  # killed between rename and removal
    assert storage.workspaces.unfinished() == ["t1"]
    await storage.discard_workspace("t1", withdraw=True)
    assert not (storage.root / file.relative_path).exists()
    assert storage.workspaces.unfinished() == []


@pytest.fixture(params=["openat2", "walk"])
def opener(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same promises with and without the system call."""
    if request.param == "walk":
        monkeypatch.setattr(beneath, "_libc", None)
    return str(request.param)


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "tmp/../../secret",
        "/etc/passwd",
        "",
        "tmp/\0",
        "nowhere/x",
        "tmp",
        "a" * 5000,
        "tmp/./../../secret",
    ],
)
def test_a_path_that_leaves_the_root_or_is_no_file_is_not_found(storage: LocalStorage, opener: str, path: str) -> None:
    (storage.root.parent / "secret").write_text("other")
    with pytest.raises(NotFound):
        storage.resolve(path)


def test_links_and_pipes_are_not_served(storage: LocalStorage, opener: str) -> None:
    """F37 symlink, F38 hard link, F39 FIFO, and a symlinked folder."""
    secret = storage.root.parent / "secret"
    secret.write_text("other")
    folder = storage.root / "tmp/t1"
    folder.mkdir()
    (folder / "symlink.mp4").symlink_to(secret)
    os.link(secret, folder / "hard.mp4")
    os.mkfifo(folder / "pipe.mp4")
    (storage.root / "tmp/t2").symlink_to(storage.root.parent)
    for name in ("t1/symlink.mp4", "t1/hard.mp4", "t1/pipe.mp4", "t2/secret"):
        with pytest.raises(NotFound):
            storage.open(f"tmp/{name}")


async def test_a_folder_swapped_for_a_link_leads_neither_reader_nor_deleter_away(
    storage: LocalStorage, opener: str
) -> None:
    """F40."""
    outside = storage.root.parent / "outside"
    outside.mkdir()
    (outside / "A.mp4").write_text("other")
    (storage.root / "tmp/t1").symlink_to(outside)
    with pytest.raises(NotFound):
        storage.open("tmp/t1/A.mp4")
    await storage.delete("tmp/t1/A.mp4")
    assert (outside / "A.mp4").exists()


async def test_deleting_twice_is_harmless_and_removes_the_empty_folder(storage: LocalStorage) -> None:
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    await storage.discard_workspace("t1")
    await storage.delete(file.relative_path)
    await storage.delete(file.relative_path)
    assert not (storage.root / "tmp/t1").exists()


def test_a_task_id_cannot_name_another_folder(storage: LocalStorage) -> None:
    for task_id in ("../x", "a/b", "", ".", "..", "x" * 65):
        with pytest.raises(NotFound):
            storage.workspace(task_id, 1)


async def test_keeping_moves_to_the_archive_and_is_repeatable_after_a_crash(storage: LocalStorage) -> None:
    lease = lease_of("t1")
    file = await storage.publish(fetched(storage, lease), lease, title="A", ext="mp4", digest=DIGEST)
    await storage.discard_workspace("t1")
    entry = HistoryEntry(
        id=1, task_id="t1", user_id=7, url="u", title="A", mode=Mode.ARCHIVE, status=TaskStatus.COMPLETED, created_at=NOW,
        completed_at=NOW, file_path=file.relative_path, file_name="A.mp4", file_size=5, file_hash="h", hash_algorithm="blake3",
    )  # fmt: skip
    moved = await storage.promote(entry)
    assert moved.relative_path == "archive/7/20260304/A_20260304120000.mp4"
    assert await storage.promote(entry) == moved
    assert storage.resolve(moved.relative_path).read_bytes() == b"bytes"
    with pytest.raises(NotFound):
        await storage.promote(replace(entry, file_size=6))


async def test_a_download_larger_than_the_free_space_is_refused_before_it_starts(storage: LocalStorage) -> None:
    with pytest.raises(DiskFull, match="free"):
        async with storage.reserve(storage.usage().free_bytes + 1):
            pytest.fail("a reservation that cannot fit was granted")
    assert storage.usage().reserved_bytes == 0


async def test_reserved_space_is_not_promised_twice(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, FakeClock(), alert_percent=100.0)
    nearly_all = storage.usage().free_bytes * 6 // 10
    async with storage.reserve(nearly_all):
        with pytest.raises(DiskPressure):
            async with storage.reserve(nearly_all):
                pytest.fail("the same space was promised twice")
    assert storage.usage().reserved_bytes == 0
