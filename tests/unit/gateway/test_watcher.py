"""A socket's mailbox: rising numbers, latest wins, endings kept, four a second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vasset.domain.download import Phase
from vasset.domain.progress import ProgressFrame
from vasset.gateway.live.watcher import Watcher


def frame(seq: int, phase: Phase = Phase.DOWNLOADING, task: str = "a") -> ProgressFrame:
    return ProgressFrame(task_id=task, user_id=1, seq=seq, phase=phase, timestamp=0.0)


def test_the_latest_frame_replaces_one_that_waits() -> None:
    watcher = Watcher(1)
    for seq in range(1, 100):
        watcher.offer(frame(seq), 0.0)
    assert [told.seq for told in watcher.due(0.0)[0]] == [99]


def test_an_ending_is_neither_replaced_nor_delayed() -> None:
    watcher = Watcher(1)
    for seq in range(1, 10):
        watcher.offer(frame(seq), 0.0)
        watcher.due(0.0)
    watcher.offer(frame(10, Phase.FAILED), 0.0)
    watcher.offer(frame(11), 0.0)
    watcher.offer(frame(12, Phase.COMPLETED), 0.0)
    assert [told.seq for told in watcher.due(0.0)[0]] == [10, 12]


def test_four_frames_a_second_leave_at_most() -> None:
    watcher = Watcher(1)
    told = 0
    for millisecond in range(10_000):
        watcher.offer(frame(millisecond + 1), millisecond / 1000)
        told += len(watcher.due(millisecond / 1000)[0])
    assert 38 <= told <= 42


def test_a_held_back_frame_says_when_it_is_due() -> None:
    watcher = Watcher(1)
    for seq in (1, 2, 3):
        watcher.offer(frame(seq), 0.0)
        frames, wait = watcher.due(0.0)
    assert frames == []
    assert wait == 0.25
    assert [told.seq for told in watcher.due(0.25)[0]] == [3]


def test_frames_of_tasks_nobody_asked_for_are_left_out() -> None:
    watcher = Watcher(1)
    watcher.watch_only(["b"])
    watcher.offer(frame(1, task="a"), 0.0)
    watcher.offer(frame(1, task="b"), 0.0)
    assert [told.task_id for told in watcher.due(0.0)[0]] == ["b"]


def test_nothing_older_than_the_snapshot_follows_it() -> None:
    watcher = Watcher(1)
    watcher.offer(frame(5), 0.0)
    assert watcher.note_snapshot([frame(7)], 0.0) == [frame(7)]
    watcher.offer(frame(6), 0.0)
    assert watcher.due(0.0)[0] == []


def test_an_ending_the_snapshot_tells_is_not_told_again() -> None:
    """Found by the fault campaign: a task that ends between a socket's joining and its snapshot."""
    watcher = Watcher(1)
    ending, other = frame(9, Phase.COMPLETED), frame(3, Phase.FAILED, task="b")
    watcher.offer(ending, 0.0)
    watcher.offer(other, 0.0)
    assert watcher.note_snapshot([ending], 0.0) == [ending]
    assert watcher.due(0.0)[0] == [other]


def test_an_ending_newer_than_the_snapshot_follows_it() -> None:
    watcher = Watcher(1)
    watcher.offer(frame(9, Phase.COMPLETED), 0.0)
    assert watcher.note_snapshot([frame(7)], 0.0) == []
    assert [told.seq for told in watcher.due(0.0)[0]] == [9]


def test_memory_of_ended_tasks_is_bounded() -> None:
    watcher = Watcher(1)
    for number in range(5_000):
        watcher.offer(frame(1, Phase.COMPLETED, task=str(number)), 0.0)
        watcher.due(0.0)
    assert len(watcher.sent) <= 2_001


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.booleans(), st.floats(0, 1))))
def test_whatever_the_bus_does_each_task_rises_strictly(events: list[tuple[str, int, bool, float]]) -> None:
    watcher, now, last = Watcher(1), 0.0, {"a": -1, "b": -1}
    for task, seq, ends, pause in events:
        now += pause
        watcher.offer(frame(seq, Phase.COMPLETED if ends else Phase.DOWNLOADING, task), now)
        if seq % 2:
            for told in watcher.due(now)[0]:
                assert told.seq > last[told.task_id]
                last[told.task_id] = told.seq
