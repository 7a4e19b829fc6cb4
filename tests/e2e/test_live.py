"""Something on air becomes a file: through the API, across ``kill -9``, and on the command line."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.api_client import api_client
from tests.support.live_stream import LiveStream, transport_segments
from tests.support.lying_origin import LyingOrigin, running_lying_origin
from tests.support.media import Media
from tests.support.processes import assert_healthy, serving, vasset_command, vasset_environment

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("live")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def station() -> AsyncIterator[LyingOrigin]:
    async with running_lying_origin() as origin:
        yield origin


@pytest.fixture
def stream(station: LyingOrigin, media: Media, tmp_path: Path) -> LiveStream:
    return LiveStream(station, transport_segments(media), tmp_path.name)


async def test_a_recording_is_watched_stopped_and_kept(
    stream: LiveStream, station: LyingOrigin, tmp_path: Path
) -> None:
    async with serving(tmp_path / "data", egress_allow=station.address) as server, api_client(server.url) as client:
        user = await client.register("live@example.test")
        assert (await user.call("POST", "/api/v1/parse", json={"url": stream.url})).data["is_live"]
        accepted = await user.submit(stream.url)
        path = f"/api/v1/downloads/{accepted['task_id']}"
        await stream.air(2)
        task = await user.task(accepted["task_id"])
        assert (task["phase"], task["is_live"], task["total_bytes"]) == ("downloading", True, None)
        assert (await user.call("POST", f"{path}/finish")).status == 200
        task = await user.ended(accepted["task_id"])
        assert task["status"] == "completed", task
        assert (await user.file(accepted["history_id"])).body[4:8] == b"ftyp"
        refused = await user.call("POST", f"{path}/finish")
        assert (refused.status, refused.json["code"]) == (409, 40904)
        assert await server.stop() == 0
    await assert_healthy(tmp_path / "data")


async def test_a_recording_survives_kill_9_and_ends_with_its_stream(
    stream: LiveStream, station: LyingOrigin, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    async with serving(data_dir, egress_allow=station.address) as server, api_client(server.url) as client:
        user = await client.register("live@example.test")
        accepted = await user.submit(stream.url, format="mkv")
        await stream.air()
        await server.kill()
    async with serving(data_dir, egress_allow=station.address) as server, api_client(server.url) as client:
        user = await client.login("live@example.test")
        await stream.air()
        stream.end()
        task = await user.ended(accepted["task_id"])
        assert task["status"] == "completed", task
        assert await server.stop() == 0
    await assert_healthy(data_dir)


async def test_control_c_makes_a_file_of_what_was_recorded(
    stream: LiveStream, station: LyingOrigin, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *vasset_command("get", stream.url, "-o", str(tmp_path), "--json"),
        env=vasset_environment(egress_allow=station.address, data_dir=str(tmp_path / "data")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await stream.air()
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    assert Path(json.loads(out)["path"]).read_bytes()[4:8] == b"ftyp"
