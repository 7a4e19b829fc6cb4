"""A full disk fails or refuses a task and nothing else, and the service recovers by itself (P15)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import Stage, assert_completed
from tests.support.lying_origin import honest

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
