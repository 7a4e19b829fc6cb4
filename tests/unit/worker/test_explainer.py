"""A download that waits says why: on its frame, in the log's obstacle and in the count (issue of silent waits)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.downloads import Gatekeeper
from tests.unit.worker.conftest import Surroundings
from tests.unit.worker.test_pool import eventually, pool_of, running
from vasset.domain.download import Phase
from vasset.domain.ports import ExtractionRequest
from vasset.domain.progress import Waiting
from vasset.usecases.acquire_media import Acquisition
from vasset.usecases.track_progress import frame_of
from vasset.usecases.watch_progress import WatchProgress
from vasset.worker.explainer import Explainer
from vasset.worker.pool import Pool
from vasset.worker.slots import Slots


def explainer_of(around: Surroundings, pool: Pool) -> Explainer:
    return Explainer(around.store, pool, around.bus, around.clock)


async def waiting_for(around: Surroundings, task_id: str) -> dict[str, str]:
    """As the list, the task and the WebSocket say it."""
    [frame] = await WatchProgress(around.bus).current([await around.task(task_id)])
    assert frame.waiting_for is not None
    return dict(frame.waiting_for)


async def test_over_the_watermark_every_queued_task_names_the_disk(around: Surroundings) -> None:
    tasks = [await around.submit(user) for user in (0, 1)]
    explainer = explainer_of(around, pool_of(around, 2, disk_alert_percent=0.0))
    await explainer.look()
    for task in tasks:
        said = await waiting_for(around, task.id)
        assert said["reason"] == "disk"
        assert "% full" in said["message"]
    assert explainer.counts() == {"disk": 2}


async def test_slots_sites_and_users_are_told_apart(around: Surroundings) -> None:
    gate = Gatekeeper()
    around.fetcher.on_result = gate
    for slots, per_user, per_site, reason in ((1, 50, 50, "slots"), (4, 1, 50, "user"), (4, 50, 1, "site")):
        pool = pool_of(around, slots, per_user=per_user, per_site=per_site)
        tasks = [await around.submit() for _ in range(2)]
        async with running(pool):
            await eventually(lambda pool=pool: len(pool.runs()) == 1)  # type: ignore[misc]
            await explainer_of(around, pool).look()
            waiting = {run.task.id for run in pool.runs()} ^ {task.id for task in tasks}
            assert (await waiting_for(around, waiting.pop()))["reason"] == reason
        for task in tasks:
            await around.store.cancel(task.id, user_id=None)


async def test_a_pause_and_a_start_end_the_words(around: Surroundings) -> None:
    task = await around.submit()
    pool = pool_of(around, 2, disk_alert_percent=0.0)
    await explainer_of(around, pool).look()
    queued = await around.last_frame(task.id)
    assert queued.phase is Phase.QUEUED
    assert queued.seq > frame_of(await around.task(task.id)).seq
    paused = await around.store.pause(task.id, user_id=None)
    [frame] = await WatchProgress(around.bus).current([paused])
    assert frame.waiting_for is None
    assert frame.seq > queued.seq


async def test_nothing_is_asked_while_nothing_could_be_waited_for(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await around.submit()
    monkeypatch.setattr(around, "store", None)
    explainer = explainer_of(around, pool_of(around, 2))
    await explainer.look()
    assert explainer.counts() == {}


async def test_a_turn_at_a_page_is_a_reason_too(around: Surroundings) -> None:
    task, gate, said = await around.submit(), Slots(1), asyncio.Queue[Waiting | None]()
    acquisition = Acquisition(
        extractor=around.extractor,
        fetcher=around.fetcher,
        storage=around.storage,
        extraction_gate=gate,
        postprocess_gate=gate,
        request=ExtractionRequest(
            url=task.url, quality="best", container=task.container, task_id=task.id,
            workspace=around.storage.workspace(task.id, 1), timeout_seconds=5.0,
        ),
        max_bytes=2**20,
        on_phase=lambda phase: None,
        on_wait=said.put_nowait,
    )  # fmt: skip
    await gate.acquire()
    extracting = asyncio.create_task(acquisition.extract())
    waiting = await asyncio.wait_for(said.get(), 5)
    assert waiting is not None
    assert waiting.reason == "turn"
    assert not extracting.done()
    gate.release()
    await extracting
    assert await said.get() is None
