"""A full disk fails or refuses a task and nothing else, and the service recovers by itself (P15)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import EMAIL, Stage, assert_completed
from tests.support.api_client import PASSWORD, ApiClient, api_client
from tests.support.lying_origin import Answer, Asked, Behaviour, honest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root")
DISK_MIB = 64


@pytest.fixture
def small_disk(stage: Stage) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(stage.data_dir)],
        capture_output=True,
        timeout=10,
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a filesystem")
    try:
        yield stage.data_dir
    finally:
        subprocess.run(["umount", "-l", str(stage.data_dir)], check=True, timeout=10)


def fill(path: Path) -> None:
    """Take every byte the filesystem has."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(2**16))


def announcing(size: int) -> Behaviour:
    """Says that it has so many bytes and sends hardly any."""

    async def behave(asked: Asked, answer: Answer) -> None:
        await answer.head("200 OK", Content_Length=size, Content_Type="video/mp4")
        await answer.body(bytes(51))
        answer.reset()

    return behave


async def endless(asked: Asked, answer: Answer) -> None:
    """Bytes of unknown number, as long as somebody takes them."""
    await answer.head("200 OK", Content_Type="video/mp4")
    with contextlib.suppress(ConnectionError):
        while True:
            await answer.body(bytes(2**20))


async def assert_usable(url: str, user: ApiClient) -> None:
    """What has to work on a full disk within ten seconds, beside what the tests do: signing in and reading."""
    async with api_client(url) as client, asyncio.timeout(10):
        while True:
            signed_in = await client.call("POST", "/api/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
            if signed_in.status == 200:
                break
            await asyncio.sleep(0.2)
    assert (await user.call("GET", "/api/v1/downloads")).status == 200


@pytest.mark.parametrize("path", ["/announced.mp4", "/endless.mp4"])
async def test_no_origin_can_fill_the_disk(stage: Stage, small_disk: Path, path: str) -> None:
    stage.origin.routes["/announced.mp4"] = announcing(300_000_000)
    stage.origin.routes["/endless.mp4"] = endless
    async with stage.running(max_retries="0", disk_alert_percent="99") as (server, user):
        accepted = await user.submit(stage.show(path))
        task = await user.ended(accepted["task_id"])
        assert (task["status"], task["error"]["reason"]) == ("failed", "disk_full")
        await assert_usable(server.url, user)
        assert (await user.call("DELETE", f"/api/v1/history/{accepted['history_id']}")).status == 200
        assert shutil.disk_usage(small_disk).free > DISK_MIB * 2**20 // 2, "what nobody can use stayed"
        assert await server.stop() == 0
    assert stage.workspaces() == []
    await stage.healthy()


async def test_a_disk_that_others_filled_is_usable_within_seconds_and_says_so(stage: Stage, small_disk: Path) -> None:
    if stage.deployment.name != "embedded":
        pytest.skip("the database is on another disk")
    stage.origin.routes["/v.mp4"] = honest(stage.media.read("progressive.mp4"))
    url = stage.show("/v.mp4")
    async with stage.running(disk_alert_percent="99") as (server, user):
        async with asyncio.timeout(20):
            while not (small_disk / ".emergency").exists():
                await asyncio.sleep(0.1)
        fill(small_disk / "filler")
        accepted = await _accepted(user, url)
        await assert_usable(server.url, user)
        other = await _accepted(user, url)
        assert (await user.call("POST", f"/api/v1/downloads/{other}/cancel")).status == 200
        async with asyncio.timeout(10):
            while (task := await user.task(accepted)).get("waiting_for") is None:
                await asyncio.sleep(0.2)
        assert task["waiting_for"]["reason"] == "disk"
        ready = (await user.call("GET", "/readyz")).data["parts"]
        assert "the disk" in ready["downloads"]
        (small_disk / "filler").unlink()
        assert_completed(await user.ended(accepted))
        assert await server.stop() == 0
    await stage.healthy()


async def test_a_start_on_a_full_disk_makes_its_own_room(stage: Stage, small_disk: Path) -> None:
    if stage.deployment.name != "embedded":
        pytest.skip("the database is on another disk")
    async with stage.running() as (server, _user):
        assert await server.stop() == 0
    orphan = small_disk / "tmp" / "0192b4f0-0000-7000-8000-000000000000" / ".work-1"
    orphan.mkdir(parents=True)
    fill(orphan / "v.mp4.part")
    async with stage.running() as (server, user):
        assert (await user.call("GET", "/readyz")).status == 200
        assert await server.stop() == 0
    assert stage.workspaces() == []
    await stage.healthy()


async def _accepted(user: ApiClient, url: str) -> str:
    """The first submission that a full disk lets through, once the emergency reserve is given up."""
    async with asyncio.timeout(10):
        while (answer := await user.call("POST", "/api/v1/download", json={"url": url})).status != 202:
            await asyncio.sleep(0.2)
    return str(answer.data["task_id"])


async def test_what_does_not_fit_fails_in_words_and_what_fits_completes(stage: Stage, small_disk: Path) -> None:
    small = stage.media.read("progressive.mp4")
    stage.origin.routes["/large.mp4"] = honest(small + bytes(80 * 2**20))
    stage.origin.routes["/small.mp4"] = honest(small)
    async with stage.running(max_retries="0", disk_alert_percent="99") as (server, user):
        accepted = await user.submit(stage.show("/large.mp4"))
        task = await user.ended(accepted["task_id"])
        assert (task["status"], task["error"]["reason"]) == ("failed", "disk_full")
        accepted = await user.submit(stage.show("/small.mp4"))
        assert_completed(await user.ended(accepted["task_id"]))
        assert await server.stop() == 0
    assert stage.workspaces() == []
    await stage.healthy()


async def test_the_service_recovers_when_space_returns(stage: Stage, small_disk: Path) -> None:
    stage.origin.routes["/v.mp4"] = honest(stage.media.read("progressive.mp4"))
    url = stage.show("/v.mp4")
    filler = small_disk / "filler"
    async with stage.running(disk_alert_percent="99") as (server, user):
        fill(filler)
        refused = await user.call("POST", "/api/v1/download", json={"url": url})
        assert refused.status in {202, 503, 507}, refused.json
        assert (await user.call("GET", "/healthz")).status == 200
        filler.unlink()
        accepted = await user.submit(url)
        assert_completed(await user.ended(accepted["task_id"]))
        assert await server.stop() == 0
    await stage.healthy()
