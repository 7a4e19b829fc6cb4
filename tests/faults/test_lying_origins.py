"""Origins that lie, through the whole product: the file is one true version of the origin's bytes, or a failure in words (P4, P5)."""

from __future__ import annotations

import os
from typing import Any

from tests.faults.conftest import Stage
from tests.support.lying_origin import changes_version, honest, ignores_range, page, resets, shortens


async def outcome(stage: Stage, user: Any, path: str) -> tuple[dict[str, Any], bytes]:
    accepted = await user.submit(stage.show(path))
    task = await user.ended(accepted["task_id"])
    return task, (await user.file(accepted["history_id"])).body if task["status"] == "completed" else b""


async def test_lies_are_survived_or_named(stage: Stage) -> None:
    real = stage.media.read("progressive.mp4")
    body = real + os.urandom(6 * 2**20)
    other = real + os.urandom(6 * 2**20)
    survivable = {
        "/ignores-range.mp4": ignores_range(body),
        "/shortens.mp4": shortens(body, times=2),
        "/resets.mp4": resets(body, times=2),
    }
    stage.origin.routes |= survivable
    stage.origin.routes["/changes.mp4"] = changes_version(body, other, at_request=2)
    stage.origin.routes["/html.mp4"] = page("<!doctype html><title>Sign in</title>please")
    stage.origin.routes["/playlist.mp4"] = honest(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    stage.origin.routes["/empty.mp4"] = honest(b"")
    async with stage.running(max_retries="1") as (server, user):
        for path in survivable:
            task, served = await outcome(stage, user, path)
            assert task["status"] == "completed", (path, task)
            assert served == body, path
        task, served = await outcome(stage, user, "/changes.mp4")
        assert served in {body, other, b""}, "a file was made of two versions"
        for path in ("/html.mp4", "/playlist.mp4", "/empty.mp4", "/missing.mp4"):
            task, served = await outcome(stage, user, path)
            assert task["status"] == "failed", (path, task)
            assert task["error"]["reason"] in {"transfer_failed", "postprocess_failed", "extraction_failed"}, path
            assert task["error"]["message"], path
        assert len((await user.call("GET", "/api/v1/downloads?status=failed")).data["items"]) >= 4
        assert await server.stop() == 0
    await stage.healthy()


async def test_fifty_requests_with_one_key_are_one_task_and_one_debit(stage: Stage) -> None:
    import asyncio

    stage.origin.routes["/v.mp4"] = honest(stage.media.read("progressive.mp4"))
    url = stage.show("/v.mp4")
    async with stage.running() as (server, user):
        accepted = await asyncio.gather(*(user.submit(url, key="the same") for _ in range(50)))
        assert len({one["task_id"] for one in accepted}) == 1
        assert (await user.ended(accepted[0]["task_id"]))["status"] == "completed"
        assert (await user.call("GET", "/api/v1/quota")).data["daily_used"] == 1
        other = await user.call(
            "POST", "/api/v1/download", json={"url": url, "quality": "360p"}, headers={"Idempotency-Key": "the same"}
        )
        assert other.status in {409, 422}
        assert await server.stop() == 0
    assert len(stage.finished_files()) == 1
    await stage.healthy()
