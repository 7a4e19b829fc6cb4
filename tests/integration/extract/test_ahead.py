"""A nursery that was started before its settings were known: taken by the first who needs one, and no trouble to anybody else."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.extraction import Site, request
from vasset._engine import GuardProxy
from vasset.adapters.extract import spawned
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.adapters.extract.nursery import Nursery

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]


@pytest.fixture
def ahead() -> Iterator[spawned.Spawned]:
    spawned.start_ahead()
    yield spawned._ahead[-1]
    while spawned._ahead:
        left = spawned._ahead.pop()
        left.control.close()
        left.process.communicate(timeout=30)


async def test_the_first_nursery_is_the_one_that_was_started_ahead(
    extractor: ChildExtractor, ahead: spawned.Spawned
) -> None:
    first = await Nursery.start(extractor.pool.settings)
    second = await Nursery.start(extractor.pool.settings)
    try:
        assert first.process_id == ahead.process.pid
        assert second.process_id != first.process_id
    finally:
        await first.stop()
        await second.stop()


async def test_one_that_has_died_in_the_meantime_is_replaced(extractor: ChildExtractor, ahead: spawned.Spawned) -> None:
    ahead.process.kill()
    await asyncio.to_thread(ahead.process.communicate)
    nursery = await Nursery.start(extractor.pool.settings)
    try:
        assert nursery.process_id != ahead.process.pid
    finally:
        await nursery.stop()


async def test_one_that_nobody_wants_ends_in_silence(ahead: spawned.Spawned) -> None:
    ahead.control.close()
    _, said = await asyncio.to_thread(ahead.process.communicate, timeout=30)
    assert (ahead.process.returncode, said) == (0, b"")


async def test_it_ends_with_the_command_that_started_it() -> None:
    script = (
        "from vasset.adapters.extract import spawned\nspawned.start_ahead()\n"
        "import os\nprint(spawned._ahead[0].process.pid, flush=True)\nos._exit(9)"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    number, until = int(done.stdout), time.monotonic() + 30
    while psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, "the nursery outlives its command"
        await asyncio.sleep(0.01)


async def test_a_start_that_is_given_up_leaves_no_process(extractor: ChildExtractor, ahead: spawned.Spawned) -> None:
    starting = asyncio.ensure_future(Nursery.start(extractor.pool.settings))
    while spawned._ahead:  # it has taken the process
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert ahead.process.returncode is not None


async def test_a_nursery_for_one_download_finds_and_finishes_as_any_other(
    guard: GuardProxy, site: Site, workspace: Path
) -> None:
    options = dataclasses.replace(ExtractorOptions(timeout_seconds=30.0), lasting=False)
    async with open_extractor(guard, options) as single:
        found = await single.extract(request(site.origin.url("separate.mpd"), workspace))
    assert len(found.streams) == 2
