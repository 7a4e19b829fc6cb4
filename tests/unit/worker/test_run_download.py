"""One execution of a task: what it writes, when it stops, and what the next one finds (P3–P5, P13, P17, P25)."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.downloads import CONTENT, Gatekeeper
from tests.unit.worker.conftest import LEASE_SECONDS, Surroundings
from vasset.adapters.db.library import SqlLibrary
from vasset.domain.download import Lease, Mode, Phase, Task, TaskStatus
from vasset.domain.errors import (
    DependencyDown,
    DiskFull,
    DiskPressure,
    ExtractionFailed,
    InvalidUrl,
    TransferFailed,
    UrlsExpired,
    VAssetError,
)
from vasset.domain.history import PublishedFile
from vasset.domain.media import Stream
from vasset.domain.ports import ProxyLease
from vasset.domain.quota import QuotaPolicy

PHASES = ("parsing", "downloading", "merging")
TWO_STREAMS = (Stream("v", "file", "http://site.test/v", "v.mp4"), Stream("a", "file", "http://site.test/a", "a.m4a"))


def hold(around: Surroundings, phase: str) -> Gatekeeper:
    """Make the next execution wait inside a phase."""
    gate = Gatekeeper()
    around.extractor.streams, around.extractor.finished_ext = TWO_STREAMS, None
    if phase == "parsing":
        around.extractor.on_extract = gate
    elif phase == "downloading":
        around.fetcher.on_result = gate
    else:
        around.extractor.on_postprocess = gate
    return gate


def raising(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        raise error

    return step


async def test_a_single_stream_becomes_the_file_without_a_second_read(around: Surroundings) -> None:
    task = await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    assert around.files() == [f"tmp/{task.id}/A title.mp4"]
    assert (around.storage.root / around.files()[0]).read_bytes() == CONTENT
    assert around.fetcher.digests == 0


async def test_separate_streams_are_merged_hashed_and_archived(around: Surroundings) -> None:
    hold(around, "merging").let_on.set()
    await around.submit(mode=Mode.ARCHIVE)
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    assert [name.split("/")[0] for name in around.files()] == ["archive"]
    assert (around.storage.root / around.files()[0]).read_bytes() == CONTENT * 2
    assert around.fetcher.digests == 1


async def test_the_completed_frame_is_the_last_and_says_all(around: Surroundings) -> None:
    task = await around.submit()
    run = around.run(await around.claim())
    await run.run()
    frame = await around.last_frame(task.id)
    assert (frame.phase, frame.percent, frame.seq) == (Phase.COMPLETED, 100.0, 1_999_999)


@pytest.mark.parametrize("phase", PHASES)
async def test_cancel_is_final_in_every_phase(around: Surroundings, phase: str) -> None:
    gate = hold(around, phase)
    task = await around.submit()
    run = around.run(await around.claim())
    running = asyncio.create_task(run.run())
    await asyncio.wait_for(gate.arrived.wait(), 10)
    await around.store.cancel(task.id, user_id=around.users[0])
    run.nudge()
    await asyncio.wait_for(running, 10)
    assert (await around.task(task.id)).status is TaskStatus.CANCELLED
    assert (await around.last_frame(task.id)).phase is Phase.CANCELLED
    assert not (around.storage.root / "tmp" / task.id).exists()
    assert around.files() == []


async def test_cancel_reaches_a_task_by_heartbeat_when_nobody_nudges(around: Surroundings) -> None:
    gate = hold(around, "downloading")
    task = await around.submit()
    running = asyncio.create_task(around.run(await around.claim()).run())
    await asyncio.wait_for(gate.arrived.wait(), 10)
    await around.store.cancel(task.id, user_id=around.users[0])
    await asyncio.wait_for(running, 10)
    assert (await around.task(task.id)).status is TaskStatus.CANCELLED


@pytest.mark.parametrize("phase", PHASES)
async def test_pause_keeps_the_workspace_and_resume_goes_on(around: Surroundings, phase: str) -> None:
    gate = hold(around, phase)
    task = await around.submit()
    run = around.run(await around.claim())
    running = asyncio.create_task(run.run())
    await asyncio.wait_for(gate.arrived.wait(), 10)
    await around.store.pause(task.id, user_id=around.users[0])
    run.nudge()
    await asyncio.wait_for(running, 10)
    assert (await around.task(task.id)).status is TaskStatus.PAUSED
    assert around.storage.workspaces.fences(task.id) == [1]
    gate.let_on.set()
    await around.store.resume(task.id, user_id=around.users[0])
    await around.run(await around.claim()).run()
    assert (await around.task(task.id)).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("phase", PHASES)
async def test_draining_hands_the_task_back_uncounted(around: Surroundings, phase: str) -> None:
    gate = hold(around, phase)
    task = await around.submit()
    run = around.run(await around.claim())
    running = asyncio.create_task(run.run())
    await asyncio.wait_for(gate.arrived.wait(), 10)
    run.drain()
    await asyncio.wait_for(running, 10)
    row = await around.task(task.id)
    assert (row.status, row.attempt) == (TaskStatus.QUEUED, 0)


async def test_a_worker_that_lost_its_lease_writes_nothing(around: Surroundings) -> None:
    gate = hold(around, "downloading")
    around.heartbeat_seconds = 30.0
    task = await around.submit()
    stale = around.run(await around.claim("stale"))
    running = asyncio.create_task(stale.run())
    await asyncio.wait_for(gate.arrived.wait(), 10)
    around.clock.advance(LEASE_SECONDS + 1)
    await around.store.reap()
    current = await around.claim("current")
    gate.let_on.set()  # the stale worker wakes up and finishes its bytes beside the new one
    await around.run(current).run()
    ended = await asyncio.wait_for(running, 10)
    assert ended.task is None
    row = await around.task(task.id)
    assert (row.status, row.fence) == (TaskStatus.COMPLETED, current.fence)
    assert len(around.files()) == 1


@pytest.mark.parametrize("moment", ["before the row", "after the row"])
async def test_a_crash_around_completion_is_finished_not_repeated(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """K10, K11: the process dies between rename and row, or between row and last frame."""
    around.heartbeat_seconds = 30.0  # a heartbeat in between would find the lease gone, and end it without a death
    task = await around.submit()
    lease = await around.claim("first")
    complete = around.store.complete

    async def die(*arguments: object, **named: object) -> Task:
        if moment == "after the row":
            await complete(*arguments, **named)  # type: ignore[arg-type]
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(around.store, "complete", die)
        with pytest.raises(asyncio.CancelledError):
            await around.run(lease).run()
    around.clock.advance(LEASE_SECONDS + 1)
    await around.store.reap()
    if moment == "before the row":
        await around.run(await around.claim("second")).run()
    assert (await around.task(task.id)).status is TaskStatus.COMPLETED
    assert len(around.files()) == 1
    assert around.extractor.extractions == 1


async def test_a_cancel_answered_during_publishing_leaves_no_file(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """K8–K11: the row decides, and the file goes."""
    around.heartbeat_seconds = 30.0
    task = await around.submit()
    lease = await around.claim()
    publish = around.storage.publish

    async def cancelled_meanwhile(*arguments: object, **named: object) -> object:
        file = await publish(*arguments, **named)  # type: ignore[arg-type]
        await around.store.cancel(task.id, user_id=around.users[0])
        return file

    monkeypatch.setattr(around.storage, "publish", cancelled_meanwhile)
    await around.run(lease).run()
    assert (await around.task(task.id)).status is TaskStatus.CANCELLED
    assert around.files() == []


async def test_expired_addresses_are_extracted_again_and_the_transfer_goes_on(around: Surroundings) -> None:
    expiries = [UrlsExpired(), UrlsExpired()]

    async def expire_twice() -> None:
        if expiries:
            raise expiries.pop()

    around.fetcher.on_result = expire_twice
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    assert around.extractor.extractions == 3
    assert len(around.fetcher.transfers) == 1
    assert len(around.fetcher.transfers[0].refreshed) == 2
    assert around.slept == [2.0, 10.0]
    assert list(around.extractor.asked[-1].again) == list(around.extractor.streams)


async def test_an_address_that_is_refused_whenever_it_is_new_is_given_up_in_words(around: Surroundings) -> None:
    around.fetcher.on_result = raising(UrlsExpired())
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.failure is not None
    assert (ended.task.failure.kind, around.extractor.extractions) == ("media_refused", 3)


async def test_what_the_site_makes_us_wait_for_is_waited_for_outside_the_page_slot_and_no_failure(
    around: Surroundings,
) -> None:
    """YouTube serves a video when its advertisement would be over, and answers 403 before."""
    notes = Notes()
    around.breaker = around.proxies = notes
    around.extractor.streams = (replace(around.extractor.streams[0], available_at=time.time() + 6.0),)
    await around.submit()
    run = around.run(await around.claim())
    seen: list[Mapping[str, str] | None] = []

    async def look(seconds: float) -> None:
        frame = run.tick()
        seen.append(frame.waiting_for if frame is not None else None)
        around.slept.append(seconds)
        assert around.fetcher.transfers == []
        assert around.extraction_gate.in_use == 0

    around.on_sleep = look
    ended = await run.run()
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    assert seen == [{"reason": "site", "message": "the site makes us wait 6 s"}]
    assert 5.0 < around.slept[0] <= 6.0
    assert (around.extractor.extractions, notes.recorded, notes.blamed) == (
        1,
        [("site.test|http://one:1", True)],
        [False],
    )


async def test_a_rate_limit_is_waited_out_longer_every_time(around: Surroundings) -> None:
    around.extractor.on_extract = raising(ExtractionFailed("429", kind="rate_limited", retryable=True))
    task = await around.submit()
    for wait in (300, 600):
        ended = await around.run(await around.claim()).run()
        assert ended.task is not None
        assert ended.task.not_before == around.clock.now() + timedelta(seconds=wait)
        around.clock.advance(wait + 1)
    error = (await around.task(task.id)).failure
    assert error is not None
    assert error.kind == "rate_limited"


@pytest.mark.parametrize("has_exits", [True, False])
async def test_a_refused_address_is_asked_again_only_through_another_exit(
    around: Surroundings, has_exits: bool
) -> None:
    around.proxies = Notes() if has_exits else None
    around.extractor.on_extract = raising(ExtractionFailed("403", kind="ip_blocked"))
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.status is (TaskStatus.RETRY if has_exits else TaskStatus.FAILED)


async def test_a_turn_that_is_over_keeps_the_bytes_and_costs_no_attempt(around: Surroundings) -> None:
    hold(around, "downloading")
    around.task_turn_seconds = 0.05
    task = await around.submit()
    await around.run(await around.claim()).run()
    row = await around.task(task.id)
    assert (row.status, row.attempt, row.failure) == (TaskStatus.QUEUED, 0, None)
    assert around.storage.workspaces.fences(task.id) == [1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TransferFailed("reset"), TaskStatus.RETRY),
        (DiskFull(), TaskStatus.RETRY),
        (RuntimeError("a defect"), TaskStatus.RETRY),
        (TransferFailed("404", kind="http_status", retryable=False), TaskStatus.FAILED),
        (ExtractionFailed("private", kind="private"), TaskStatus.FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_a_failure_is_repeated_exactly_when_its_class_says_so(
    around: Surroundings, error: Exception, status: TaskStatus
) -> None:
    around.fetcher.on_result = raising(error)
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.status is status
    assert ended.task.failure is not None
    assert "Traceback" not in ended.task.failure.message
    assert around.unexpected == ([] if isinstance(error, VAssetError) else [error])


class Notes:
    """A breaker and a pool with one exit, which take note of what they are told."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, bool]] = []
        self.blamed: list[bool] = []

    def check(self, key: str) -> None: ...

    def record(self, key: str, *, succeeded: bool) -> None:
        self.recorded.append((key, succeeded))

    def states(self) -> dict[str, str]:
        return {}

    async def lease(self, task_id: str, site: str, *, attempt: int) -> ProxyLease:
        return ProxyLease(id=f"{task_id}:one", exit="http://one:1", url="http://one:1")

    async def report(self, lease: ProxyLease, site: str, *, succeeded: bool, blamed: bool) -> None:
        self.blamed.append(blamed)


@pytest.mark.parametrize(
    ("error", "counted", "is_blamed"),
    [
        (None, [True], False),
        (TransferFailed("502", kind="server_error"), [False], False),
        (TransferFailed("429", kind="rate_limited"), [False], True),
        (TransferFailed("no bytes", kind="stalled"), [False], True),
        (TransferFailed("404", kind="http_status", retryable=False), [], False),
        (ExtractionFailed("503", kind="server_error"), [False], False),
        (ExtractionFailed("refused", kind="unreachable"), [False], True),
        (ExtractionFailed("robot?", kind="bot_check"), [False], True),
        (ExtractionFailed("gone", kind="removed"), [], False),
        (DiskFull(), [], False),
    ],
)
async def test_sites_and_exits_are_told_what_is_their_fault_and_nothing_else(
    around: Surroundings, error: VAssetError | None, counted: list[bool], is_blamed: bool
) -> None:
    notes = Notes()
    around.breaker = around.proxies = notes
    if error is not None:
        around.fetcher.on_result = raising(error)
    await around.submit()
    await around.run(await around.claim()).run()
    assert notes.recorded == [
        ("site.test|http://one:1", succeeded) for succeeded in counted
    ]  # of no task: tasks share it
    assert notes.blamed == [is_blamed]


async def test_a_task_fails_for_good_after_four_executions(around: Surroundings) -> None:
    around.fetcher.on_result = raising(TransferFailed("reset"))
    task = await around.submit()
    executions = 0
    while (await around.task(task.id)).status in {TaskStatus.QUEUED, TaskStatus.RETRY}:
        around.clock.advance(31)
        await around.run(await around.claim()).run()
        executions += 1
    assert executions == 4
    assert (await around.task(task.id)).status is TaskStatus.FAILED
    assert (await around.last_frame(task.id)).phase is Phase.FAILED


async def test_a_task_that_takes_too_long_is_stopped(around: Surroundings) -> None:
    hold(around, "downloading")
    around.task_timeout_seconds = 1.0  # long enough for the transfer to begin on a busy machine
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.failure is not None
    assert ended.task.failure.reason == "task_timed_out"
    assert around.fetcher.transfers[0].cancelled


async def test_a_full_disk_hands_the_task_back_instead_of_failing_it(around: Surroundings) -> None:
    around.fetcher.on_result = raising(DiskPressure())
    task = await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.disk_pressure
    row = await around.task(task.id)
    assert (row.status, row.attempt) == (TaskStatus.QUEUED, 0)


async def test_a_database_that_blinks_delays_completion_and_loses_nothing(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await around.submit()
    lease = await around.claim()
    complete = around.store.complete
    outages = [DependencyDown(), DependencyDown()]

    async def blink(*arguments: object, **named: object) -> Task:
        if outages:
            raise outages.pop()
        return await complete(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(around.store, "complete", blink)
    await around.run(lease).run()
    assert (await around.task(task.id)).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("thaws", ["before its successor", "beside its successor", "after its successor"])
async def test_an_overtaken_worker_never_takes_back_what_its_successor_has(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, thaws: str
) -> None:
    """Frozen between publishing and its row, then thawed: by then the file may stand in somebody else's row."""
    frozen, thawed = asyncio.Event(), asyncio.Event()
    complete = around.store.complete

    async def write_row(
        lease: Lease, file: PublishedFile, *, duration_seconds: float | None, remarks: Sequence[str] = ()
    ) -> Task:
        if lease.fence == 1:
            frozen.set()
            await thawed.wait()
        elif thaws == "beside its successor":
            thawed.set()
            await zombie
        return await complete(lease, file, duration_seconds=duration_seconds, remarks=remarks)

    monkeypatch.setattr(around.store, "complete", write_row)
    task = await around.submit(mode=Mode.ARCHIVE)
    zombie = asyncio.create_task(around.run(await around.claim("zombie")).run())
    await asyncio.wait_for(frozen.wait(), 10)
    around.clock.advance(LEASE_SECONDS + 1)
    assert await around.store.reap() == [task.id]
    if thaws == "before its successor":
        thawed.set()
        await asyncio.wait_for(zombie, 10)
    ended = await asyncio.wait_for(around.run(await around.claim("successor")).run(), 10)
    thawed.set()
    assert (await asyncio.wait_for(zombie, 10)).task is None
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    (only,) = around.files()
    entry = await SqlLibrary(around.database, QuotaPolicy({})).entry(around.users[0], ended.task.history_id)
    assert entry.file_path == only
    assert (around.storage.root / only).read_bytes() == CONTENT


async def test_a_full_disk_gives_the_bytes_up_before_any_row_is_written(around: Surroundings) -> None:
    task = await around.submit()
    lease = await around.claim()
    seen: list[bool] = []

    async def full() -> None:
        workspace = around.storage.workspace(task.id, lease.fence)
        (workspace / "v.mp4.part").write_bytes(CONTENT)
        around.store.fail = failing  # type: ignore[method-assign]
        raise DiskFull()

    async def failing(*arguments: object, **keywords: object) -> Task:
        seen.append((around.storage.root / "tmp" / task.id).exists())
        raise DependencyDown("the database is on the same disk")

    around.fetcher.on_result = full
    run = around.run(lease)
    around.clock.advance(LEASE_SECONDS)
    running = asyncio.create_task(run.run())
    async with asyncio.timeout(10):
        while not seen:
            await asyncio.sleep(0)
    around.clock.advance(LEASE_SECONDS * 2)
    assert (await running).disk_pressure
    assert not any(seen)


async def test_a_child_that_fills_the_disk_is_stopped_and_the_task_fails_in_words(around: Surroundings) -> None:
    gate = hold(around, "merging")
    await around.submit()
    run = around.run(await around.claim())
    running = asyncio.create_task(run.run())
    await gate.arrived.wait()
    assert run.is_written_by_a_child
    assert run.run_out_of_room()
    ended = await running
    assert ended.task is not None
    assert ended.task.status is TaskStatus.RETRY
    assert ended.task.failure is not None
    assert ended.task.failure.reason == "disk_full"
    assert around.files() == []
    assert not run.run_out_of_room()


async def test_a_pause_writes_down_how_far_it_was_and_the_next_execution_goes_on_there(around: Surroundings) -> None:
    gate = hold(around, "downloading")
    task = await around.submit()
    run = around.run(await around.claim())
    running = asyncio.create_task(run.run())
    await gate.arrived.wait()
    shown = run.tick()
    await around.store.pause(task.id, user_id=None)
    run.nudge()
    await running
    paused = await around.task(task.id)
    assert shown is not None
    assert paused.downloaded_bytes == shown.downloaded_bytes > 0
    await around.store.resume(task.id, user_id=None)
    again = around.run(await around.claim()).tick()
    assert again is not None
    assert again.downloaded_bytes == paused.downloaded_bytes


async def test_a_playlist_in_the_place_of_a_file_is_joined(around: Surroundings) -> None:
    asked: list[str] = []

    async def once() -> None:
        asked.append(around.fetcher.transfers[-1].streams[0].kind)
        if len(asked) == 1:
            raise TransferFailed("it is a playlist", kind="playlist", retryable=False)

    around.fetcher.on_result = once
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert (ended.task.status, asked) == (TaskStatus.COMPLETED, ["file", "hls"])


@pytest.mark.parametrize(
    ("error", "is_tried_otherwise"),
    [
        (TransferFailed("the playlist is malformed", kind="unreadable", retryable=False), True),
        (InvalidUrl("there is no such representation"), True),
        (TransferFailed("a page came in the place of a fragment", kind="origin_lied", retryable=False), False),
    ],
)
async def test_what_ours_cannot_read_is_left_to_yt_dlp_and_what_lies_is_not(
    around: Surroundings, error: VAssetError, is_tried_otherwise: bool
) -> None:
    tried: list[str] = []

    async def native() -> None:
        tried.append("native")

    around.extractor.streams = (Stream("d", "dash", "http://site.test/m.mpd", "d.mp4", representation="1"),)
    around.extractor.finished_ext = None
    around.fetcher.on_result = raising(error)
    around.extractor.on_native = native
    await around.submit()
    await around.run(await around.claim()).run()
    assert tried == (["native"] if is_tried_otherwise else [])


@pytest.mark.parametrize(("kind", "said"), [("other", "SAMPLE-AES is not supported"), ("drm", "protected by DRM")])
async def test_where_yt_dlp_does_not_know_why_the_engine_does(around: Surroundings, kind: str, said: str) -> None:
    around.extractor.streams = (Stream("h", "hls", "http://site.test/m.m3u8", "h.mp4"),)
    around.extractor.finished_ext = None
    around.fetcher.on_result = raising(TransferFailed(said, kind="unsupported", retryable=False))
    around.extractor.on_native = raising(ExtractionFailed("protected by DRM" if kind == "drm" else None, kind=kind))
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.failure is not None
    assert said in ended.task.failure.message
