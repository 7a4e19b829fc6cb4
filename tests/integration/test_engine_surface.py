"""The engine as Python sees it: waits that free the interpreter, endings that wake a loop, a fork that is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.lying_origin import Answer, Asked, LyingOrigin, held, honest, running_lying_origin
from vasset import _engine

pytestmark = pytest.mark.xdist_group("engine_surface")
BODY = os.urandom(3 << 20)


@pytest.fixture
async def lying() -> AsyncIterator[LyingOrigin]:
    async with running_lying_origin() as origin:
        yield origin


def engine() -> _engine.Engine:
    return _engine.Engine(egress_allow=["127.0.0.1"])


async def test_an_ending_wakes_the_event_loop_through_the_descriptor(lying: LyingOrigin, tmp_path: Path) -> None:
    lying.routes["/v"] = honest(BODY)
    started = engine()
    woken = asyncio.Event()
    asyncio.get_running_loop().add_reader(started.completion_fd(), woken.set)
    handles = [started.submit(_engine.Request(lying.url("/v"), str(tmp_path / name))) for name in ("a", "b")]
    ended: list[int] = []
    async with asyncio.timeout(30):
        while len(ended) < 2:
            await woken.wait()
            woken.clear()
            ended += started.drain_completions()
    asyncio.get_running_loop().remove_reader(started.completion_fd())
    assert sorted(ended) == [handle.id for handle in handles]
    assert [Path(handle.result().path).read_bytes() for handle in handles] == [BODY, BODY]
    assert started.snapshot() == []
    await asyncio.to_thread(started.close)


async def test_waiting_leaves_the_interpreter_to_other_threads(lying: LyingOrigin, tmp_path: Path) -> None:
    """The origin runs in this very process: were the lock held while waiting, it could not answer and nothing would end."""
    gate = asyncio.Event()
    lying.routes["/v"] = held(BODY, gate, first_bytes=1 << 20)
    started = engine()
    handle = started.submit(_engine.Request(lying.url("/v"), str(tmp_path / "v")))
    waiting = threading.Thread(target=handle.wait, args=(30.0,))
    waiting.start()
    await lying.sent("/v", 1 << 20)
    assert waiting.is_alive()
    gate.set()
    await asyncio.to_thread(waiting.join)
    assert (tmp_path / "v").read_bytes() == BODY
    await asyncio.to_thread(started.close)


async def test_a_wait_that_takes_too_long_says_so_and_the_download_goes_on(lying: LyingOrigin, tmp_path: Path) -> None:
    gate = asyncio.Event()
    lying.routes["/v"] = held(BODY, gate)
    started = engine()
    handle = started.submit(_engine.Request(lying.url("/v"), str(tmp_path / "v")))
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(handle.wait, 0.01)
    assert not handle.done()
    with pytest.raises(RuntimeError):
        handle.result()
    gate.set()
    assert (await asyncio.to_thread(handle.wait, 30.0)).size == len(BODY)
    await asyncio.to_thread(started.close)


async def test_ctrl_c_ends_a_wait(lying: LyingOrigin, tmp_path: Path) -> None:
    lying.routes["/v"] = held(BODY, asyncio.Event(), first_bytes=1 << 20)
    script = (
        "import sys\nfrom vasset import _engine\n"
        "engine = _engine.Engine(egress_allow=['127.0.0.1'])\n"
        "handle = engine.submit(_engine.Request(sys.argv[1], sys.argv[2]))\n"
        "try: handle.wait()\nexcept KeyboardInterrupt: sys.exit(7)\n"
    )
    command = [sys.executable, "-c", script, lying.url("/v"), str(tmp_path / "v")]
    process = subprocess.Popen(command)
    try:
        await lying.sent("/v", 1 << 20)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 20) == 7
    finally:
        process.kill()
        process.wait()


def test_a_forked_child_is_refused_and_the_parent_goes_on(tmp_path: Path) -> None:
    started = engine()
    request = _engine.Request("http://127.0.0.1:9/v", str(tmp_path / "v"), retries=0)
    handle = started.submit(request)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of exactly what is tested here
        child = os.fork()
    if child == 0:
        refused = 0
        for attempt in (
            lambda: started.submit(request),
            lambda: started.set_limits(rate_limit=1),
            lambda: handle.set_limits(rate_limit=1),
            lambda: handle.refresh("http://127.0.0.1:9/w"),
        ):
            try:
                attempt()
            except _engine.ForkError:
                refused += 1
        started.close()  # must not wait for threads that are in the parent
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    with pytest.raises(_engine.NetworkError):
        handle.wait(30.0)
    started.close()


async def test_an_expired_address_is_renewed_and_the_journal_goes_on(lying: LyingOrigin, tmp_path: Path) -> None:
    right = honest(BODY)

    async def expires(asked: Asked, answer: Answer) -> None:
        if (asked.byte_range(len(BODY)) or (0, 0))[0] == 0:
            size = len(BODY)
            await answer.head(
                "206 Partial Content", Content_Length=size, ETag='"v1"', Content_Range=f"bytes 0-{size - 1}/{size}"
            )
            await answer.body(BODY[: 2 << 20])
        else:
            await answer.head("403 Forbidden", Content_Length=0)

    lying.routes |= {"/old": expires, "/new": right}
    started = engine()
    handle = started.submit(_engine.Request(lying.url("/old"), str(tmp_path / "v"), connections=1))
    with pytest.raises(_engine.UrlExpired) as refused:
        await asyncio.to_thread(handle.wait, 30.0)
    assert (refused.value.status, refused.value.code) == (403, "url_expired")
    handle.refresh(lying.url("/new"))
    outcome = await asyncio.to_thread(handle.wait, 30.0)
    assert outcome.resumed_bytes >= 1 << 20
    assert (tmp_path / "v").read_bytes() == BODY
    assert sum((asked.byte_range(len(BODY)) or (0, 0))[0] == 0 for asked in lying.requests("/new")) == 0
    await asyncio.to_thread(started.close)


async def test_limits_and_pauses_reach_a_running_task(lying: LyingOrigin, tmp_path: Path) -> None:
    """At one byte a second it would take a month; lifting the limit is felt by the wait that has begun."""
    lying.routes["/v"] = honest(BODY)
    started = engine()
    handle = started.submit(_engine.Request(lying.url("/v"), str(tmp_path / "v"), rate_limit=1))
    await lying.reached("/v")
    handle.pause()
    async with asyncio.timeout(30):
        while handle.snapshot().state != "paused":
            await asyncio.sleep(0)
    handle.resume()
    await lying.reached("/v", 2)
    handle.set_limits(rate_limit=0)
    assert (await asyncio.to_thread(handle.wait, 30.0)).size == len(BODY)
    await asyncio.to_thread(started.close)
