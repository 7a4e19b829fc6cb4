"""Children: bounded, expendable, and nobody's crash anybody else's (P17, P27)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.extraction import PLUGINS, Site, request
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.egress import Egress
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.adapters.extract.nursery import Nursery
from vasset.adapters.extract.pool import ChildPool, PoolBounds
from vasset.domain.errors import ExtractionFailed, Overloaded

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]


@asynccontextmanager
async def small_pool(extractor: ChildExtractor, guard: GuardProxy, **bounds: Any) -> AsyncIterator[ChildExtractor]:
    """Another pool over the same programs, with bounds of its own."""
    pool = ChildPool(extractor.pool.settings, PoolBounds(**bounds))
    try:
        yield ChildExtractor(pool, Egress(guard), has_ffmpeg=True)
    finally:
        await pool.close()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll an outside fact (another process is gone); fails when it does not become true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def gone(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def seen_by_a_child(extractor: ChildExtractor, site: Site, workspace: Path) -> dict[str, Any]:
    note = workspace / "note.json"
    await extractor.extract(request(site.url("state", note=str(note)), workspace))
    seen: dict[str, Any] = json.loads(note.read_text())
    return seen


async def test_a_page_that_never_ends_is_stopped_in_time(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    with pytest.raises(ExtractionFailed) as failed:
        await extractor.extract(request(site.url("hang"), workspace, timeout_seconds=0.5))
    assert (failed.value.kind, failed.value.retryable) == ("timeout", True)


async def test_a_child_that_spins_is_ended_by_the_kernel_too(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    with pytest.raises(ExtractionFailed) as failed:
        await extractor.extract(request(site.url("spin"), workspace, timeout_seconds=0.5))
    assert failed.value.kind == "timeout"


async def test_a_timeout_takes_along_what_the_child_had_started(
    extractor: ChildExtractor, site: Site, workspace: Path, tmp_path: Path
) -> None:
    note = tmp_path / "numbers"
    with pytest.raises(ExtractionFailed):
        await extractor.extract(request(site.url("spawn", note=str(note)), workspace, timeout_seconds=1.0))
    child, program = map(int, note.read_text().split())
    await until(lambda: gone(child) and gone(program))


async def test_cancelling_ends_the_child_and_what_it_started(
    extractor: ChildExtractor, site: Site, workspace: Path, tmp_path: Path
) -> None:
    note = tmp_path / "numbers"
    work = asyncio.ensure_future(extractor.extract(request(site.url("spawn", note=str(note)), workspace)))
    await until(lambda: note.exists() and len(note.read_text().split()) == 2)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    child, program = map(int, note.read_text().split())
    await until(lambda: gone(child) and gone(program))


@pytest.mark.parametrize("case", ["crash", "eat"])
async def test_a_poisonous_page_costs_its_own_task_only(
    extractor: ChildExtractor, site: Site, workspace: Path, case: str
) -> None:
    neighbour = asyncio.ensure_future(extractor.describe(site.url("separate")))
    with pytest.raises(ExtractionFailed) as failed:
        await extractor.extract(request(site.url(case), workspace))
    assert (failed.value.kind, failed.value.retryable) == ("crashed", True)
    assert (await neighbour).title == "Test video separate"
    assert (await extractor.describe(site.url("separate"))).title == "Test video separate"


async def test_an_answer_too_large_for_one_message_is_a_failure_in_words(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    with pytest.raises(ExtractionFailed, match="more than one answer may hold"):
        await extractor.extract(request(site.url("shout"), workspace))


async def test_a_child_has_an_empty_environment_and_limits(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    seen = await seen_by_a_child(extractor, site, workspace)
    assert set(seen["environment"]) <= {"PATH", "LANG", "DENO_NO_UPDATE_CHECK", "DENO_DIR", "LC_CTYPE"}
    assert [Path(part).name for part in seen["environment"]["PATH"].split(":")] == ["bin"]
    assert seen["group"] == seen["pid"] != os.getpgid(0)
    assert seen["folder"] == "/"
    assert seen["niceness"] == os.getpriority(os.PRIO_PROCESS, 0) + 5, "people's requests go first"
    unlimited = -1
    for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE"):
        assert seen["limits"][name][0] != unlimited, name


async def test_no_secret_stands_in_an_argument_list(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path, tmp_path: Path
) -> None:
    note = tmp_path / "numbers"
    url = site.url("spawn", note=str(note), token="canary-token-77")
    work = asyncio.ensure_future(extractor.extract(request(url, workspace)))
    await until(lambda: note.exists() and len(note.read_text().split()) == 2)
    try:
        mine = psutil.Process().children(recursive=True)
        lines = [" ".join(process.cmdline()) for process in mine if process.is_running()]
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert any("child/__main__.py" in line for line in lines)
    assert not [line for line in lines if "canary-token-77" in line or "@127.0.0.1" in line]


async def test_a_child_is_used_again_and_replaced_after_its_share_of_jobs(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with small_pool(extractor, guard, page_children=1, recycle_after=3) as pool:
        numbers = [(await seen_by_a_child(pool, site, workspace))["pid"] for _ in range(7)]
    assert [numbers.count(number) for number in dict.fromkeys(numbers)] == [3, 3, 1]


async def test_a_child_that_grew_is_replaced(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with small_pool(extractor, guard, page_children=1, max_private_mib=1) as pool:
        numbers = [(await seen_by_a_child(pool, site, workspace))["pid"] for _ in range(2)]
    assert len(set(numbers)) == 2


async def test_children_without_work_go_home(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with small_pool(extractor, guard, rest_seconds=0.05) as pool:
        number = (await seen_by_a_child(pool, site, workspace))["pid"]
        await until(lambda: gone(number))


async def test_jobs_beyond_the_queue_are_refused_at_once(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with small_pool(extractor, guard, page_children=1, waiting=1) as pool:
        works = [
            asyncio.ensure_future(pool.extract(request(site.url("hang"), workspace, timeout_seconds=20)))
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await asyncio.wait_for(pool.extract(request(site.url("separate"), workspace)), 1.0)
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def test_a_merge_does_not_keep_a_page_waiting(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with small_pool(extractor, guard, page_children=1, file_children=1) as pool:
        job = {"verb": "describe", "url": site.url("hang"), "proxy": "http://127.0.0.1:9"}
        long = asyncio.ensure_future(pool.pool.run(job, lane="file", timeout_seconds=30))
        assert (await asyncio.wait_for(pool.describe(site.url("separate")), 20)).title == "Test video separate"
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)


async def test_a_dead_nursery_is_replaced_by_the_next_job(
    extractor: ChildExtractor, guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with small_pool(extractor, guard) as pool:
        await pool.start()
        work = asyncio.ensure_future(pool.extract(request(site.url("hang"), workspace)))
        await until(lambda: any(link.process_id for link in _nursery(pool).children.values()))
        child = next(link.process_id for link in _nursery(pool).children.values())
        os.kill(_nursery(pool).process_id, signal.SIGKILL)
        with pytest.raises(ExtractionFailed) as failed:
            await work
        assert failed.value.kind == "crashed"
        assert child is not None
        await until(lambda: gone(child))
        assert (await pool.describe(site.url("separate"))).title == "Test video separate"


def _nursery(extractor: ChildExtractor) -> Nursery:
    nursery = extractor.pool.nursery
    assert nursery is not None
    return nursery


SERVER = """
import asyncio, sys
from pathlib import Path
from tests.support.extraction import request
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor

async def main():
    with GuardProxy() as guard:
        async with open_extractor(guard, ExtractorOptions(plugins=Path(sys.argv[1]))) as extractor:
            await extractor.extract(request(sys.argv[2], Path(sys.argv[3])))

asyncio.run(main())
"""


async def test_no_child_outlives_a_killed_server(site: Site, workspace: Path, tmp_path: Path) -> None:
    note = tmp_path / "numbers"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(PLUGINS), site.url("spawn", note=str(note)), str(workspace)
    )
    try:
        await until(lambda: note.exists() and len(note.read_text().split()) == 2, 30)
        nursery = psutil.Process(server.pid).children()[0].pid
    finally:
        server.kill()
        await server.wait()
    child, program = map(int, note.read_text().split())
    await until(lambda: gone(nursery) and gone(child) and gone(program))


async def test_two_idle_children_and_the_nursery_stay_below_their_share_of_memory(
    extractor: ChildExtractor, guard: GuardProxy, site: Site
) -> None:
    async with small_pool(extractor, guard) as pool:
        await asyncio.gather(*(pool.describe(site.url("separate")) for _ in range(2)))
        nursery = _nursery(pool)
        numbers = [nursery.process_id, *(link.process_id for link in nursery.children.values() if link.process_id)]
        assert len(numbers) == 3
        together = sum(psutil.Process(number).memory_full_info().pss for number in numbers) >> 20
    assert together <= 140


async def test_closing_ends_every_child_and_removes_the_programs(
    guard: GuardProxy, site: Site, workspace: Path
) -> None:
    async with open_extractor(guard, ExtractorOptions(plugins=PLUGINS)) as opened:
        number = (await seen_by_a_child(opened, site, workspace))["pid"]
        nursery = _nursery(opened).process_id
        programs = opened.pool.settings.programs
        assert programs.exists()
    assert gone(number)
    assert gone(nursery)
    assert not programs.exists()
    with pytest.raises(Overloaded):
        await opened.describe(site.url("separate"))
