"""Titles that sites make up, from a real page to the file that is served (F1–F40)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.api_client import api_client
from tests.support.lying_origin import honest, page, running_lying_origin
from tests.support.media import Media
from tests.support.processes import assert_healthy, serving

TITLES = [
    "../../etc/passwd", "..", "/etc/x", "C:\\x", "CON", "nul.mp4", " x ", "-rf", "--exec=id", "~root", "$(id)", "`id`", "%(id)s", "a%00.mp4",
    "x\r\nSet-Cookie: a=b", "\u202egpj.exe", "．．／x", "a\u2044b", ".htaccess", "<script>alert(1)</script>", '"; filename=evil', "测" * 200,
    "💣" * 100, "👨‍👩‍👧‍👦" * 40, "a\ud800b", "x" * 5_000, "é.mp4",
]  # fmt: skip


async def test_no_title_leaves_its_folder_its_header_or_its_bound(media: Media, tmp_path: Path) -> None:
    film = media.read("progressive.mp4")
    async with (
        running_lying_origin() as origin,
        serving(tmp_path / "data", egress_allow=origin.address) as server,
        api_client(server.url) as client,
    ):
        origin.routes["/film.mp4"] = honest(film)
        for number, title in enumerate(TITLES):
            origin.routes[f"/{number}.html"] = page(_playing(origin.url("/film.mp4"), title))
        user = await client.register("titles@example.test")
        tasks = await asyncio.gather(
            *(user.submit(origin.url(f"/{number}.html"), mode="archive_download") for number in range(len(TITLES)))
        )
        for accepted in tasks:
            assert (ended := await user.ended(accepted["task_id"]))["status"] == "completed", ended
            answer = await user.file(accepted["history_id"], Range="bytes=0-0")
            assert (answer.status, answer.body) == (206, film[:1])
            disposition = answer.headers["Content-Disposition"]
            assert disposition.isascii()
            assert "Set-Cookie" not in answer.headers
            assert not set("/\\") & set(unquote(disposition.partition("filename*=UTF-8''")[2]))
        stored = [path for path in (tmp_path / "data" / "archive" / "1").rglob("*") if path.is_file()]
        assert await server.stop() == 0
    assert len(stored) == len(TITLES)
    assert {path.parent.parent for path in stored} == {tmp_path / "data" / "archive" / "1"}
    assert all(path.suffix == ".mp4" and len(path.name.encode()) <= 255 for path in stored)
    assert not [path for path in stored if path.name.startswith((".", "-"))]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and (tmp_path / "data") not in path.parents]
    await assert_healthy(tmp_path / "data")


def _playing(video: str, title: str) -> str:
    described = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": title,
        "contentUrl": video,
        "duration": "PT6S",
    }
    script = json.dumps(described).replace("<", "\\u003c")
    return f'<!doctype html><title>x</title><script type="application/ld+json">{script}</script>'


pytestmark = pytest.mark.asyncio
