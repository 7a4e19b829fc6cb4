"""Quality and container → yt-dlp's expression, checked by yt-dlp's own selector over made-up formats."""

from __future__ import annotations

from typing import Any

import pytest
import yt_dlp

from vasset.adapters.extract.child.formats import FormatRefused, choose

HD = {
    "format_id": "137",
    "ext": "mp4",
    "height": 1080,
    "width": 1920,
    "vcodec": "avc1.640028",
    "acodec": "none",
    "tbr": 4000,
}
UHD = {
    "format_id": "315",
    "ext": "webm",
    "height": 2160,
    "width": 3840,
    "vcodec": "vp9",
    "acodec": "none",
    "tbr": 15000,
}
HD_VP9 = {
    "format_id": "248",
    "ext": "webm",
    "height": 1080,
    "width": 1920,
    "vcodec": "vp9",
    "acodec": "none",
    "tbr": 3000,
}
SMALL = {
    "format_id": "18",
    "ext": "mp4",
    "height": 360,
    "width": 640,
    "vcodec": "avc1.42001E",
    "acodec": "mp4a.40.2",
    "tbr": 500,
}
AAC = {"format_id": "140", "ext": "m4a", "vcodec": "none", "acodec": "mp4a.40.2", "abr": 128, "tbr": 128, "language_preference": 10, "language": "en"}  # fmt: skip
OPUS = {"format_id": "251", "ext": "webm", "vcodec": "none", "acodec": "opus", "abr": 160, "tbr": 160, "language_preference": 10, "language": "en"}  # fmt: skip
DUBBED = {**OPUS, "format_id": "251-9", "abr": 320, "tbr": 320, "language_preference": -1, "language": "de"}
EVERYTHING = [SMALL, HD, HD_VP9, UHD, AAC, OPUS, DUBBED]


def selected(quality: str, container: str, formats: list[dict[str, Any]]) -> list[str]:
    """The format ids yt-dlp would fetch."""
    choice = choose(quality, container)
    options = {"quiet": True, "format": choice.expression, "format_sort": list(choice.sort), "no_warnings": True}
    with yt_dlp.YoutubeDL(options, auto_init=False) as downloader:
        offered = [{"url": f"https://example.com/{form['format_id']}", "protocol": "https", **form} for form in formats]
        info = {"id": "1", "title": "t", "extractor": "x", "extractor_key": "X", "formats": offered}
        result = downloader.process_video_result(info, download=False)
    return [str(form["format_id"]) for form in result.get("requested_formats") or [result]]


@pytest.mark.parametrize(
    ("quality", "container", "ids"),
    [
        ("best", "mp4", ["315", "140"]),
        ("best", "webm", ["315", "251"]),
        ("1080p", "mp4", ["137", "140"]),
        ("1080p", "webm", ["248", "251"]),
        ("1440p", "mp4", ["137", "140"]),
        ("360p", "mkv", ["18"]),
        ("audio", "m4a", ["140"]),
        ("audio", "opus", ["251"]),
        ("audio", "mp4", ["140"]),
        ("1080p", "mp3", ["251"]),
        ("137", "mp4", ["137", "140"]),
        ("18", "mp4", ["18"]),
        ("251", "original", ["251"]),
        ("137+251", "mkv", ["137", "251"]),
    ],
)
def test_a_quality_and_a_container_choose_these_formats(quality: str, container: str, ids: list[str]) -> None:
    assert selected(quality, container, EVERYTHING) == ids


def test_a_dubbed_track_never_wins_over_the_original_by_bitrate() -> None:
    assert "251-9" not in selected("best", "mkv", EVERYTHING)
    assert selected("audio", "opus", [OPUS, DUBBED]) == ["251"]


def test_a_height_the_video_does_not_have_takes_the_next_lower_one() -> None:
    assert selected("720p", "mp4", EVERYTHING) == ["18"]


def test_a_height_below_all_others_takes_the_smallest_there_is() -> None:
    assert selected("360p", "mp4", [HD, UHD, AAC]) == ["137", "140"]


def test_a_video_with_sound_inside_is_taken_alone_when_nothing_else_exists() -> None:
    assert selected("best", "mp4", [SMALL]) == ["18"]


def test_a_silent_video_is_better_than_none() -> None:
    assert selected("best", "mp4", [HD]) == ["137"]


@pytest.mark.parametrize("protocol", ["rtmp", "mhtml", "websocket_frag", "rtsp"])
def test_what_nobody_here_can_fetch_is_never_chosen(protocol: str) -> None:
    unfetchable = {**UHD, "protocol": protocol}
    assert selected("best", "mp4", [HD, unfetchable, AAC]) == ["137", "140"]


def test_a_missing_format_id_is_an_error_not_another_format() -> None:
    with pytest.raises(yt_dlp.utils.ExtractorError, match="not available"):
        selected("999", "mp4", EVERYTHING)


@pytest.mark.parametrize(
    "quality",
    ["bestvideo[height<=", "best/worst", "a b", "(137", "137,140", "", "all,best", "137+140+18", "a" * 65],
)
def test_an_expression_is_refused_as_a_quality(quality: str) -> None:
    with pytest.raises(FormatRefused):
        choose(quality, "mp4")


@pytest.mark.parametrize("word", ["all", "mergeall", "worst", "bv", "b", "x'y", "'\\Z", "高清"])
def test_a_word_of_the_format_language_is_only_ever_an_id(word: str) -> None:
    with pytest.raises(yt_dlp.utils.ExtractorError, match="not available"):
        selected(word, "mp4", EVERYTHING)
