"""What the engine does not write is kept off the disk's floor too: children are stopped, the emergency reserve goes last."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from vasset.adapters.storage.emergency import EmergencyReserve
from vasset.adapters.storage.local import LocalStorage
from vasset.adapters.storage.publication import NOTE
from vasset.adapters.storage.starting import make_room_to_start
from vasset.domain.ports import DiskUsage
from vasset.worker.admission import Admission, AdmissionBounds
from vasset.worker.disk_guard import DiskGuard
from vasset.worker.pool import Pool

ROOMY = DiskUsage(total_bytes=1_000, used_bytes=100, free_bytes=900, reserved_bytes=0, floor_bytes=50)


class Disk(LocalStorage):
    """A disk that is as full as a test says."""

    said = ROOMY

    def usage(self) -> DiskUsage:
        return self.said


class Stopping(Pool):
    def __init__(self) -> None:
        self.stopped = 0

    def stop_one_for_room(self) -> None:
        self.stopped += 1


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path, FakeClock())


def test_one_child_a_look_is_stopped_and_the_reserve_goes_when_half_the_floor_is_gone(
    disk: Disk, tmp_path: Path
) -> None:
    pool, reserve = Stopping(), EmergencyReserve(tmp_path, 4_096)
    reserve.hold()
    assert (tmp_path / ".emergency").stat().st_blocks * 512 >= 4_096
    guard = DiskGuard(disk, pool, reserve, relieve=None)
    assert not guard.look()
    disk.said = replace(ROOMY, free_bytes=40)
    assert guard.look()
    assert (pool.stopped, reserve.is_held) == (1, True)
    disk.said = replace(ROOMY, free_bytes=10)
    assert guard.look()
    assert (pool.stopped, reserve.is_held) == (2, False)


def test_a_reserve_that_cannot_be_taken_leaves_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "gone"
    missing.mkdir()
    reserve = EmergencyReserve(missing, 4_096)
    (missing / ".emergency.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        reserve.hold()
    assert not reserve.is_held


def test_a_start_on_a_full_disk_spares_what_is_published_and_takes_the_largest_first(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tmp_path / "tmp" / name / ".work-1" for name in ("small", "large", "noted")}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        (folder / "v.mp4.part").write_bytes(bytes(100_000 if name == "large" else 10_000))
    (folders["noted"] / NOTE).write_text("{}")
    (tmp_path / "tmp" / "small" / ".gone-1").mkdir()
    removed: list[str] = []

    def remove(folder: Path, **how: object) -> None:
        removed.append(folder.parent.name if folder.name == ".work-1" else folder.name)
        if folder.name == ".work-1":
            disk.said = ROOMY
        real(folder, ignore_errors=True)

    real = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", remove)
    monkeypatch.setattr("vasset.adapters.storage.starting.NEEDED_BYTES", 100)
    disk.said = replace(ROOMY, free_bytes=10)
    assert make_room_to_start(disk, EmergencyReserve(tmp_path, 0)) == 1
    assert removed == [".gone-1", "large"]
    assert folders["small"].exists()
    assert folders["noted"].exists()


@pytest.mark.parametrize(
    ("usage", "is_over"),
    [
        (DiskUsage(10 * 2**40, int(8.5 * 2**40), int(1.5 * 2**40), 0, 0, 100 * 2**30), False),
        (DiskUsage(100 * 2**30, 86 * 2**30, 14 * 2**30, 0, 0, 100 * 2**30), True),
        (DiskUsage(10 * 2**40, int(9.95 * 2**40), int(0.05 * 2**40), 0, 0, 100 * 2**30), True),
    ],
)
def test_a_percentage_of_a_huge_disk_is_no_pressure_while_plenty_is_free(
    disk: Disk, usage: DiskUsage, is_over: bool
) -> None:
    disk.said = usage
    obstacle = Admission(disk, FakeClock(), AdmissionBounds(85.0, 0, 1e9)).obstacle()
    assert (obstacle is not None) is is_over


def test_below_the_floor_nothing_starts_whatever_the_percentage(disk: Disk) -> None:
    disk.said = replace(ROOMY, free_bytes=40, plenty_bytes=10)
    obstacle = Admission(disk, FakeClock(), AdmissionBounds(99.0, 0, 1e9)).obstacle()
    assert obstacle is not None
    assert obstacle.reason == "disk"
