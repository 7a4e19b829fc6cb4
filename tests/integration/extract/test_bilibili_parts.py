"""A film in several parts under one address, as Bilibili's own extractor reads it: entries, not silently the first."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from yt_dlp.networking import Request
from yt_dlp.networking.common import Response

from vasset.adapters.extract.child.describe import describe
from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.extract import extract
from vasset.adapters.extract.child.failure import classify

FILM = "BV1xx411c7mD"
ADDRESS = f"https://www.bilibili.com/video/{FILM}/"
PAGE = {"videoData": {"bvid": FILM, "aid": 1, "cid": 11, "title": "Two parts", "pages": [{"cid": 11}, {"cid": 12}]}}
JOB = {
    "task_id": "t",
    "url": ADDRESS,
    "proxy": "http://127.0.0.1:9",
    "quality": "best",
    "container": "mp4",
    "subtitles": False,
}


class Canned(GuardedDownloader):
    def urlopen(self, req: Any) -> Any:
        url = req if isinstance(req, str) else Request(req.url).url
        if "pagelist" in url:
            body = json.dumps({"code": 0, "data": [{"page": 1, "part": "one"}, {"page": 2, "part": "two"}]})
        else:
            body = f"<html><script>window.__INITIAL_STATE__={json.dumps(PAGE)};</script></html>"
        return Response(io.BytesIO(body.encode()), url, {"Content-Type": "text/html"})


def test_the_parts_are_the_entries_of_a_list() -> None:
    found = describe(dict(JOB), {}, lambda message: None, opened=Canned)
    assert (found["kind"], found["title"]) == ("playlist", "Two parts")
    assert [entry["url"] for entry in found["entries"]] == [
        f"https://www.bilibili.com/video/{FILM}?p={n}" for n in (1, 2)
    ]


def test_one_part_is_never_downloaded_for_the_whole(tmp_path: Any) -> None:
    with pytest.raises(Exception) as refused:
        extract(dict(JOB) | {"workspace": str(tmp_path)}, {}, lambda message: None, opened=Canned)
    failure = classify(refused.value)
    assert (failure.kind, "playlist" in failure.message) == ("unsupported_site", True)
