"""kill -9 in every phase, then a restart on the same data: every accepted task completes with the origin's bytes (P1, P5, P28)."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import Stage, assert_completed
from tests.support.lying_origin import held, held_page, honest


async def completes_after_restart(stage: Stage, task_id: str, expected: bytes | None) -> None:
    async with stage.running() as (server, user):
        task = await user.ended(task_id)
        assert_completed(task)
        answer = await user.file(task["history_id"])
        assert expected is None or answer.body == expected
        assert (await user.call("GET", "/api/v1/quota")).data["daily_used"] == 1
        async with asyncio.timeout(
            20
        ):  # of a task that had ended before the restart the janitor's first round cleans up
            while stage.workspaces():
                await asyncio.sleep(0.05)
        assert await server.stop() == 0
    assert len(stage.finished_files()) == 1
    assert stage.workspaces() == []
    await stage.healthy()


async def test_killed_just_after_accepting(stage: Stage) -> None:
    """Twenty answers of 202, then nothing: all twenty complete."""
    body = stage.media.read("progressive.mp4")
    stage.origin.routes["/v.mp4"] = honest(body)
    url = stage.show("/v.mp4")
    async with stage.running() as (server, user):
        accepted = await asyncio.gather(*(user.submit(url, key=f"key {number}") for number in range(20)))
        await server.kill()
    async with stage.running() as (server, user):
        for one in accepted:
            task = await user.ended(one["task_id"])
            assert_completed(task)
        again = await user.submit(url, key="key 7")
        assert again["task_id"] == accepted[7]["task_id"], "the key was forgotten"
        assert (await user.call("GET", "/api/v1/quota")).data["daily_used"] == 20
        await server.stop()
    assert {path.read_bytes() == body for path in stage.finished_files()} == {True}
    assert len(stage.finished_files()) == 20
    await stage.healthy()


async def test_killed_while_reading_the_page(stage: Stage) -> None:
    body = stage.media.read("progressive.mp4")
    gate = asyncio.Event()
    stage.origin.routes["/v.mp4"] = honest(body)
    url = stage.show("/v.mp4")
    stage.origin.routes["/v.mp4.html"] = held_page('<title>Held</title><video src="/v.mp4"></video>', gate)
    async with stage.running() as (server, user):
        accepted = await user.submit(url)
        await stage.origin.reached("/v.mp4.html")
        await server.kill()
    gate.set()
    await completes_after_restart(stage, accepted["task_id"], body)


async def test_killed_while_downloading_goes_on_where_the_bytes_stopped(stage: Stage) -> None:
    body = stage.media.read("progressive.mp4") + bytes(40 * 2**20)
    first = 30 * 2**20
    gate = asyncio.Event()
    stage.origin.routes["/v.mp4"] = held(body, gate, first_bytes=first)
    async with stage.running() as (server, user):
        accepted = await user.submit(stage.show("/v.mp4"))
        await user.downloaded(accepted["task_id"], first)  # what the origin has sent may still lie in sockets
        await server.kill()
    gate.set()
    sent_before = stage.origin.sent_bytes["/v.mp4"]
    await completes_after_restart(stage, accepted["task_id"], body)
    fetched_again = stage.origin.sent_bytes["/v.mp4"] - len(body)
    in_sockets = 8 * 2**20  # of a connection that was slow, and replaced
    assert fetched_again <= 16 * 2**20 + in_sockets < first, (
        f"{fetched_again} bytes were fetched twice (sent before: {sent_before})"
    )


async def test_killed_while_merging(stage: Stage) -> None:
    for name in ("separate.mpd", "video_only.mp4", "audio_only.m4a"):
        content_type = "application/dash+xml" if name.endswith("mpd") else "video/mp4"
        stage.origin.routes[f"/{name}"] = honest(stage.media.read(name), content_type=content_type)
    async with stage.running(held_ffmpeg=True) as (server, user):
        accepted = await user.submit(stage.origin.url("/separate.mpd"))
        await user.reached(accepted["task_id"], {"merging"})
        await server.kill()
    await completes_after_restart(stage, accepted["task_id"], None)


async def test_killed_while_postprocessing(stage: Stage) -> None:
    stage.origin.routes["/v.mp4"] = honest(stage.media.read("progressive.mp4"))
    async with stage.running(held_ffmpeg=True) as (server, user):
        accepted = await user.submit(stage.show("/v.mp4"), format="mp3")
        await user.reached(accepted["task_id"], {"postprocessing", "merging"})
        await server.kill()
    await completes_after_restart(stage, accepted["task_id"], None)
    assert [path.suffix for path in stage.finished_files()] == [".mp3"]


@pytest.mark.parametrize("place", ["K10:1", "K11:1"], ids=["published and not recorded", "recorded and not told"])
async def test_killed_while_finalizing(stage: Stage, place: str) -> None:
    """The file is in place and the row does not say so yet, or says so and nobody was told: one file, one unit of quota."""
    body = stage.media.read("progressive.mp4")
    stage.origin.routes["/v.mp4"] = honest(body)
    async with stage.running(kill_at=place) as (server, user):
        accepted = await user.submit(stage.show("/v.mp4"))
        async with asyncio.timeout(60):
            while not stage.finished_files():
                await asyncio.sleep(0.01)
        await server.kill()
    await completes_after_restart(stage, accepted["task_id"], body)
