"""A link in, a file out: register, parse, download, watch, fetch, over real HTTP with a real origin."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import Service
from tests.support.media import SECONDS
from tests.support.origin import Origin

pytestmark = pytest.mark.asyncio(loop_scope="module")


def probe(data: bytes, folder: Path) -> dict[str, Any]:
    path = folder / "served"
    path.write_bytes(data)
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    return found


def kinds(found: dict[str, Any]) -> set[str]:
    return {stream["codec_type"] for stream in found["streams"]}


async def test_a_page_is_parsed_into_title_and_choices(service: Service, origin: Origin) -> None:
    answer = await service.user.call("POST", "/api/v1/parse", json={"url": origin.url("progressive_mp4.html")})
    assert answer.data["title"].startswith("A plain page")
    assert answer.data["qualities"]
    assert answer.data["formats"]


async def test_a_progressive_file_arrives_bit_for_bit(service: Service, origin: Origin, tmp_path: Path) -> None:
    task, served = await service.user.completed(origin.url("progressive_mp4.html"))
    assert hashlib.sha256(served).digest() == hashlib.sha256(origin.media.read("progressive.mp4")).digest()
    assert (task["percent"], task["phase"], task["error"]) == (100.0, "completed", None)
    entry = (await service.user.call("GET", "/api/v1/history")).data["items"][0]
    assert (entry["task_id"], entry["has_file"]) == (task["task_id"], True)
    assert entry["file_hash"] == hashlib.sha256(served).hexdigest()
    answer = await service.user.file(task["history_id"], Range="bytes=100-199")
    assert (answer.status, answer.body) == (206, served[100:200])
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="A plain page')
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_separate_video_and_audio_become_one_file(service: Service, origin: Origin, tmp_path: Path) -> None:
    _, served = await service.user.completed(origin.url("separate.mpd"))
    found = probe(served, tmp_path)
    assert kinds(found) == {"video", "audio"}
    assert abs(float(found["format"]["duration"]) - SECONDS) < 0.5


@pytest.mark.parametrize("playlist", ["hls/index.m3u8", "dash/index.mpd"])
async def test_a_stream_of_fragments_becomes_one_file(
    service: Service, origin: Origin, tmp_path: Path, playlist: str
) -> None:
    _, served = await service.user.completed(origin.url(playlist))
    found = probe(served, tmp_path)
    assert kinds(found) == {"video", "audio"}
    assert abs(float(found["format"]["duration"]) - SECONDS) < 0.5


async def test_sound_alone_is_converted_to_mp3(service: Service, origin: Origin, tmp_path: Path) -> None:
    _, served = await service.user.completed(origin.url("separate.mpd"), quality="audio", format="mp3")
    found = probe(served, tmp_path)
    assert kinds(found) == {"audio"}
    assert found["format"]["format_name"] == "mp3"


async def test_webm_stays_webm_when_asked_for(service: Service, origin: Origin, tmp_path: Path) -> None:
    _, served = await service.user.completed(origin.url("progressive_webm.html"), format="webm")
    assert kinds(probe(served, tmp_path)) == {"video", "audio"}
    assert served == origin.media.read("progressive.webm")


async def test_what_mp4_cannot_hold_is_delivered_in_what_does_and_said(
    service: Service, origin: Origin, tmp_path: Path
) -> None:
    task, served = await service.user.completed(origin.url("progressive_webm.html"), format="mp4")
    assert kinds(probe(served, tmp_path)) == {"video", "audio"}
    assert task["remarks"] == ["mp4 cannot hold vp8: the file is webm"]


async def test_an_archive_lands_below_its_user_and_goes_only_by_its_user(service: Service, origin: Origin) -> None:
    task, _ = await service.user.completed(origin.url("progressive_mp4.html"), mode="archive_download")
    found = [path for path in (service.data_dir / "archive" / "1").rglob("*") if path.is_file()]
    assert len(found) == 1
    assert found[0].name.startswith("A plain page")
    assert (await service.user.call("DELETE", f"/api/v1/history/{task['history_id']}")).status == 200
    assert not found[0].exists()
    assert (await service.user.file(task["history_id"])).status == 404


async def test_progress_is_watched_from_snapshot_to_completion(service: Service, origin: Origin) -> None:
    ticket = (await service.user.call("POST", "/api/v1/ws/ticket")).data["ticket"]
    async with (
        aiohttp.ClientSession(service.server.url) as session,
        session.ws_connect("/api/v1/ws", protocols=("vasset.v1", f"ticket.{ticket}")) as socket,
    ):
        assert (await socket.receive_json(timeout=10))["event"] == "snapshot"
        accepted = await service.user.submit(origin.url("progressive.mp4", slow=True))
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1]["phase"] not in {"completed", "failed"}:
            message = await socket.receive_json(timeout=30)
            if message["event"] == "progress" and message["task"]["task_id"] == accepted["task_id"]:
                frames.append(message["task"])
    assert frames[-1]["phase"] == "completed"
    sequence = [frame["seq"] for frame in frames]
    assert sequence == sorted(set(sequence))
    percents = [frame["percent"] for frame in frames if frame["percent"] is not None]
    assert percents == sorted(percents)
    assert percents[-1] == 100.0
    assert any(0 < percent < 100 for percent in percents), "no tick between start and end"
    assert (await service.user.task(accepted["task_id"]))["seq"] == frames[-1]["seq"], "polling and socket disagree"


async def test_quota_counts_completed_and_gives_back_failed(service: Service, origin: Origin) -> None:
    before = (await service.user.call("GET", "/api/v1/quota")).data["daily_used"]
    await service.user.completed(origin.url("progressive_mp4.html"))
    accepted = await service.user.submit(origin.url("nowhere.mp4"))
    task = await service.user.ended(accepted["task_id"])
    assert task["status"] == "failed"
    assert task["error"]["message"]
    assert task["error"]["fault"] in {"user", "site", "exit", "pace", "extractor", "us"}
    assert task["error"]["kind"]
    assert task["error"]["action"]
    assert (await service.user.call("GET", "/api/v1/quota")).data["daily_used"] == before + 1


async def test_readiness_names_its_parts(service: Service) -> None:
    ready = await service.anonymous.call("GET", "/readyz")
    assert ready.status == 200
    beside = {"embedded": {"downloader", "downloads"}, "distributed": {"rabbitmq", "redis"}}[service.deployment]
    assert set(ready.data["parts"]) == {"database"} | beside
