"""A child is not trusted: what does not fit the contract is a crash of its own, never a 500 of somebody else's."""

from __future__ import annotations

from typing import Any

import pytest

from vasset.adapters.extract import answers
from vasset.domain.errors import ExtractionFailed
from vasset.domain.media import MediaInfo

ENTRY = {"url": "https://videos.example/2", "title": None, "duration_seconds": None, "thumbnail": None}
FORMAT = {"id": "18", "ext": "mp4", "protocol": "https", "height": 360, "fps": 25}
INFO = {
    "url": "https://videos.example/1", "kind": "single", "id": "1", "title": "T", "site": "videos", "duration_seconds": 6,
    "thumbnail": "https://cdn.example/t.jpg", "uploader": None, "is_live": False, "formats": [FORMAT], "qualities": [],
}  # fmt: skip
STREAM = {
    "format_id": "18", "kind": "file", "url": "https://cdn.example/v", "file_name": "media.mp4", "headers": {"Referer": "x"},
    "cookies": [], "fragments": [], "size_bytes": 10,
}  # fmt: skip
EXTRACTION = {"title": "T", "site": "videos", "streams": [STREAM], "info": {"file": "x"}, "estimated_bytes": None}


def described(answer: dict[str, Any]) -> MediaInfo:
    return answers.result({"event": "done", "result": answer}, lambda each: answers.media_info(each, "1"))


def test_what_fits_becomes_what_it_says() -> None:
    info = described(INFO | {"entries": [ENTRY]})
    assert (info.duration_seconds, info.formats[0].fps, info.entries[0].url) == (6, 25, ENTRY["url"])
    assert answers.extraction(EXTRACTION, "1").streams[0].headers == {"Referer": "x"}


@pytest.mark.parametrize(
    "odd",
    [
        {"title": 7}, {"title": None}, {"title": "\ud800"}, {"duration_seconds": "6"}, {"duration_seconds": float("inf")},
        {"duration_seconds": 10**400}, {"is_live": 1}, {"kind": "film"}, {"entry_count": 2**63}, {"entry_count": True},
        {"thumbnail": "http://[::1/x"}, {"thumbnail": "http://a.example:99999999/"}, {"thumbnail": "javascript:alert(1)"},
        {"formats": 3}, {"formats": ["x"]}, {"formats": [FORMAT | {"size_bytes": 1.5}]}, {"formats": [FORMAT | {"id": []}]},
        {"qualities": [{"quality": "best", "label": "Best", "size_bytes": 2**64}]}, {"unheard_of": 1},
        {"entries": [ENTRY | {"url": "http://[zz]/"}]}, {"entries": [ENTRY | {"thumbnail": "http://x.example\u2100.com/"}]},
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_the_childs_crash(odd: dict[str, Any]) -> None:
    with pytest.raises(ExtractionFailed) as refused:
        described(INFO | odd)
    assert (refused.value.kind, refused.value.retryable) == ("crashed", True)


@pytest.mark.parametrize(
    "odd",
    [{"size_bytes": "1"}, {"kind": "torrent"}, {"headers": ["x"]}, {"url": None}, {"cookies": [{"name": 1}]},
     {"available_at": float("nan")}, {"fragments": [{"url": 3}]}],
)  # fmt: skip
def test_a_stream_that_does_not_fit_is_the_childs_crash(odd: dict[str, Any]) -> None:
    message = {"event": "done", "result": EXTRACTION | {"streams": [STREAM | odd]}}
    with pytest.raises(ExtractionFailed, match="nonsense"):
        answers.result(message, lambda each: answers.extraction(each, "1"))
