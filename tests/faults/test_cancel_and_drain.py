"""Cancel, pause and SIGTERM in every phase: prompt, final, and nothing lost (P13, P25)."""

from __future__ import annotations

import asyncio
import time

from tests.faults.conftest import Stage, assert_completed
from tests.support.lying_origin import held, held_page, honest

PHASES = ("parsing", "downloading", "merging")
WITHIN_SECONDS = 5.0  # 1 s is promised on a quiet machine; a build machine is not one


def prepare(stage: Stage, phase: str) -> tuple[str, asyncio.Event]:
    """An address whose download stops inside `phase` until the event is set."""
    gate = asyncio.Event()
    body = stage.media.read("progressive.mp4")
    if phase == "merging":
        for name in ("separate.mpd", "video_only.mp4", "audio_only.m4a"):
            content_type = "application/dash+xml" if name.endswith("mpd") else "video/mp4"
            stage.origin.routes[f"/{name}"] = honest(stage.media.read(name), content_type=content_type)
        return stage.origin.url("/separate.mpd"), gate
    stage.origin.routes["/v.mp4"] = held(body, gate, first_bytes=100_000) if phase == "downloading" else honest(body)
    url = stage.show("/v.mp4")
    if phase == "parsing":
        stage.origin.routes["/v.mp4.html"] = held_page('<title>Held</title><video src="/v.mp4"></video>', gate)
    return url, gate


async def arrived(stage: Stage, user: object, task_id: str, phase: str) -> None:
    from tests.support.api_client import ApiClient

    assert isinstance(user, ApiClient)
    if phase == "parsing":
        await stage.origin.reached("/v.mp4.html")
    elif phase == "downloading":
        await stage.origin.sent("/v.mp4", 100_000)
    else:
        await user.reached(task_id, {"merging"})


async def test_cancel_in_every_phase_is_prompt_and_leaves_nothing(stage: Stage) -> None:
    async with stage.running(held_ffmpeg=True) as (server, user):
        for phase in PHASES:
            url, gate = prepare(stage, phase)
            stage.origin.asked.clear()
            stage.origin.sent_bytes.clear()
            accepted = await user.submit(url)
            await arrived(stage, user, accepted["task_id"], phase)
            asked_at = time.monotonic()
            answer = await user.call("POST", f"/api/v1/downloads/{accepted['task_id']}/cancel")
            assert answer.status == 200
            task = await user.ended(accepted["task_id"])
            assert task["status"] == "cancelled", (phase, task)
            assert time.monotonic() - asked_at < WITHIN_SECONDS, phase
            gate.set()
        assert (await user.call("GET", "/api/v1/quota")).data["daily_used"] == 0
        assert await server.stop() == 0
    assert stage.finished_files() == []
    assert stage.workspaces() == []
    await stage.healthy()


async def test_pause_keeps_the_bytes_and_resume_completes_the_file(stage: Stage) -> None:
    url, gate = prepare(stage, "downloading")
    async with stage.running() as (server, user):
        accepted = await user.submit(url)
        await arrived(stage, user, accepted["task_id"], "downloading")
        await user.call("POST", f"/api/v1/downloads/{accepted['task_id']}/pause")
        await user.reached(accepted["task_id"], {"paused"})
        assert len(stage.workspaces()) == 1
        gate.set()
        await user.call("POST", f"/api/v1/downloads/{accepted['task_id']}/resume")
        task = await user.ended(accepted["task_id"])
        assert_completed(task)
        assert (await user.file(task["history_id"])).body == stage.media.read("progressive.mp4")
        assert await server.stop() == 0
    await stage.healthy()


async def test_sigterm_hands_running_downloads_to_the_next_start(stage: Stage) -> None:
    url, gate = prepare(stage, "downloading")
    async with stage.running() as (server, user):
        accepted = [await user.submit(url) for _ in range(3)]
        await stage.origin.reached("/v.mp4", 3)
        stopped_at = time.monotonic()
        assert await server.stop() == 0, "\n".join(server.log[-20:])
        assert time.monotonic() - stopped_at < 15
        assert "Traceback" not in "\n".join(server.log)
    await stage.healthy()
    gate.set()
    async with stage.running() as (server, user):
        for one in accepted:
            task = await user.ended(one["task_id"])
            assert_completed(task)
            assert task["attempt"] == 1, "a drain counted as an attempt"
        await server.stop()
    await stage.healthy()
