"""A live stream as a task: who ends it, and what it becomes."""

import asyncio

import pytest

from tests.support.downloads import CONTENT
from tests.unit.worker.conftest import Surroundings
from tests.unit.worker.test_run_download import raising
from vasset.domain.download import Intent, Phase, TaskStatus
from vasset.domain.errors import IllegalTransition, TransferFailed
from vasset.domain.media import Stream

ON_AIR = (Stream("live", "native", "http://site.test/live", "media.ts"),)


def on_air(around: Surroundings) -> None:
    around.extractor.streams, around.extractor.is_live, around.extractor.finished_ext = ON_AIR, True, None


async def test_its_users_wish_to_finish_ends_the_recording_and_keeps_it(around: Surroundings) -> None:
    on_air(around)
    recording = asyncio.Event()

    async def until_asked() -> None:
        recording.set()
        await around.extractor.finish_asked.wait()

    around.extractor.on_record = until_asked
    task = await around.submit()
    run = around.run(await around.claim())
    running = asyncio.ensure_future(run.run())
    await asyncio.wait_for(recording.wait(), 10)
    assert (await around.task(task.id)).is_live
    frame = run.tick()
    assert frame is not None
    assert (frame.is_live, frame.phase, frame.total_bytes) == (True, Phase.DOWNLOADING, None)
    await around.store.finish(task.id, user_id=task.user_id)
    run.nudge()
    ended = await asyncio.wait_for(running, 10)
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    assert (around.storage.root / around.files()[0]).read_bytes() == CONTENT


async def test_addresses_that_stopped_answering_are_extracted_anew(around: Surroundings) -> None:
    on_air(around)
    around.extractor.refusals = 2
    await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert (ended.task.status, around.extractor.extractions) == (TaskStatus.COMPLETED, 3)


async def test_what_the_page_did_not_call_live_is_recorded_all_the_same(around: Surroundings) -> None:
    around.extractor.streams = (Stream("hls", "hls", "http://site.test/live.m3u8", "media.ts"),)
    around.extractor.finished_ext = None
    around.fetcher.on_result = raising(TransferFailed("live", kind="unsupported", retryable=False))
    around.extractor.on_native = raising(TransferFailed("live", kind="live", retryable=True))
    task = await around.submit()
    ended = await around.run(await around.claim()).run()
    assert ended.task is not None
    assert ended.task.status is TaskStatus.COMPLETED
    assert (await around.task(task.id)).is_live


async def test_only_a_recording_can_be_finished(around: Surroundings) -> None:
    task = await around.submit()
    with pytest.raises(IllegalTransition):
        await around.store.finish(task.id, user_id=task.user_id)
    await around.claim()
    with pytest.raises(IllegalTransition):
        await around.store.finish(task.id, user_id=task.user_id)


async def test_the_wish_to_finish_outlives_its_worker(around: Surroundings) -> None:
    task = await around.submit()
    lease = await around.claim()
    await around.store.record_extraction(
        lease, title="On air", duration_seconds=None, extractor_version="1", total_bytes=None, is_live=True
    )
    await around.store.finish(task.id, user_id=task.user_id)
    await around.store.take_back_all()
    assert await around.store.heartbeat(await around.claim(), lease_seconds=60.0) is Intent.FINISH
