"""One percentage that never goes back, one sequence that always rises (P18)."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from vasset.domain.download import Mode, Phase, Task, TaskFailure, TaskStatus
from vasset.domain.media import Container
from vasset.domain.ports import TransferSnapshot
from vasset.domain.progress import Waiting
from vasset.usecases.track_progress import ProgressTracker, frame_of, waiting_frame
from vasset.usecases.watch_progress import newest

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
TASK = Task(
    id="t", user_id=7, history_id=3, url="u", mode=Mode.QUICK, quality="best", container=Container.MP4,
    status=TaskStatus.RUNNING, phase=Phase.DOWNLOADING, attempt=1, fence=2, created_at=NOW, updated_at=NOW,
)  # fmt: skip

snapshots = st.builds(
    TransferSnapshot, st.integers(0, 10**12), st.none() | st.integers(0, 10**12), st.floats(0, 1e9, allow_nan=False)
)


@given(st.lists(snapshots, max_size=30), st.none() | st.integers(1, 10**12))
def test_percent_never_falls_and_seq_always_rises(reports: list[TransferSnapshot], estimate: int | None) -> None:
    tracker = ProgressTracker(TASK, 2, estimated_bytes=estimate)
    frames = []
    for report in reports:
        tracker.observe(report)
        if (frame := tracker.tick(0.0)) is not None:
            frames.append(frame)
    frames.append(tracker.ending(0.0, Phase.COMPLETED))
    percents = [frame.percent for frame in frames if frame.percent is not None]
    assert percents == sorted(percents)
    assert all(percent <= 99.9 for percent in percents[:-1])
    assert percents[-1] == 100.0
    sequence = [frame.seq for frame in frames]
    assert sequence == sorted(set(sequence))
    assert all(2_000_000 < seq < 3_000_000 for seq in sequence)
    assert all(frame.total_bytes is None or frame.downloaded_bytes <= frame.total_bytes for frame in frames)


def test_nothing_new_is_not_repeated() -> None:
    tracker = ProgressTracker(TASK, 2)
    assert tracker.tick(1.0) is not None
    assert tracker.tick(2.0) is None
    tracker.enter(Phase.MERGING)
    assert tracker.tick(3.0) is not None


def test_an_estimate_is_called_one() -> None:
    tracker = ProgressTracker(TASK, 2, estimated_bytes=100)
    tracker.observe(TransferSnapshot(50, None, 10.0))
    frame = tracker.tick(0.0)
    assert frame is not None
    assert (frame.total_bytes, frame.total_is_estimate, frame.percent, frame.eta_seconds) == (100, True, 50.0, 5.0)


def test_no_speed_is_shown_once_the_bytes_are_there() -> None:
    tracker = ProgressTracker(TASK, 2)
    tracker.observe(TransferSnapshot(50, 50, 10.0))
    tracker.enter(Phase.MERGING)
    frame = tracker.tick(0.0)
    assert frame is not None
    assert (frame.speed_bytes_per_second, frame.eta_seconds) == (None, None)


def test_the_row_and_the_live_ending_carry_the_same_sequence() -> None:
    live = ProgressTracker(TASK, 2).ending(0.0, Phase.FAILED, TaskFailure("r", "m", False))
    row = frame_of(replace(TASK, status=TaskStatus.FAILED, failure=TaskFailure("r", "m", False)))
    assert live.seq == row.seq
    assert live.error == row.error
    assert row.error is not None
    assert (row.error["reason"], row.error["message"], row.error["retryable"]) == ("r", "m", False)


def test_a_failure_says_of_what_kind_it_is_and_when_it_is_tried_again() -> None:
    refused = TaskFailure("extraction_failed", "Too many requests.", True, "rate_limited")
    waiting = replace(
        TASK, status=TaskStatus.RETRY, failure=refused, not_before=datetime(2026, 3, 4, 12, 5, tzinfo=UTC)
    )
    error = frame_of(waiting).error
    assert error is not None
    assert (error["kind"], error["fault"], error["retry_at"]) == ("rate_limited", "pace", "2026-03-04T12:05:00+00:00")
    assert error["action"]
    live = ProgressTracker(TASK, 2).ending(0.0, Phase.QUEUED, refused, retry_at=waiting.not_before)
    assert live.error == error


def test_what_is_waited_for_stands_in_the_frame_until_the_end() -> None:
    tracker = ProgressTracker(TASK, 2)
    tracker.waiting = Waiting("site", "the site makes us wait 6 s")
    frame = tracker.tick(0.0)
    assert frame is not None
    assert frame.waiting_for == {"reason": "site", "message": "the site makes us wait 6 s"}
    assert tracker.ending(1.0, Phase.COMPLETED).waiting_for is None


def test_a_live_frame_of_an_earlier_execution_is_not_shown() -> None:
    live = ProgressTracker(TASK, 2).ending(0.0, Phase.FAILED)
    assert newest(replace(TASK, fence=3), live).phase is Phase.DOWNLOADING
    queued = replace(TASK, status=TaskStatus.QUEUED)
    assert newest(queued, live).phase is Phase.QUEUED


def test_a_frame_of_somebody_elses_task_is_never_taken() -> None:
    live = replace(ProgressTracker(TASK, 2).ending(0.0, Phase.DOWNLOADING), user_id=8, downloaded_bytes=99)
    assert newest(TASK, live).downloaded_bytes == 0


def test_what_an_earlier_execution_reached_is_never_gone_back_behind() -> None:
    """Paused at 56.7 %, the bar of the next execution once began at 28.9 %."""
    resumed = replace(TASK, fence=3, downloaded_bytes=567, total_bytes=1_000)
    tracker = ProgressTracker(resumed, 3)
    frames = [tracker.tick(0.0)]
    for downloaded in (0, 289, 600):
        tracker.observe(TransferSnapshot(downloaded, 1_000, 1.0))
        frames.append(tracker.tick(0.0))
    shown = [(frame.percent, frame.downloaded_bytes) for frame in frames if frame is not None]
    assert shown[0] == (56.7, 567)
    assert shown == sorted(shown)
    assert shown[-1] == (60.0, 600)


def test_the_words_of_waiting_rise_and_give_way_to_what_comes_next() -> None:
    queued = replace(TASK, status=TaskStatus.QUEUED)
    row, waiting = frame_of(queued), Waiting("disk", "the disk is full")
    first, later = (waiting_frame(queued, waiting, NOW.timestamp() + seconds) for seconds in (0, 10**7))
    assert row.seq < first.seq < later.seq < ProgressTracker(TASK, 3).ending(0.0, Phase.FAILED).seq
    assert newest(queued, later).waiting_for == {"reason": "disk", "message": "the disk is full"}
    assert newest(replace(queued, status=TaskStatus.PAUSED), later).waiting_for is None
    assert later.seq < frame_of(replace(queued, status=TaskStatus.FAILED)).seq
