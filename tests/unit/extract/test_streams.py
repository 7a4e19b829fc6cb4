"""yt-dlp's formats → streams of the engine."""

from __future__ import annotations

from typing import Any

import pytest
from yt_dlp import YoutubeDL

from vasset.adapters.extract.answers import extraction
from vasset.adapters.extract.child.qualities import shortlist
from vasset.adapters.extract.child.sizes import estimate, total
from vasset.adapters.extract.child.streams import cookies_in, file_name, stream, tame
from vasset.adapters.extract.child.text import address, text
from vasset.domain.media import Cookie

PLAIN = {"format_id": "18", "url": "https://example.com/v", "ext": "mp4", "protocol": "https"}


def made(form: dict[str, Any], *, merged: bool = False) -> dict[str, Any]:
    return stream(tame(form, set()), merged=merged, cookies=[], duration=10.0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "file"),
        ({"protocol": "m3u8_native"}, "hls"),
        ({"protocol": "m3u8"}, "hls"),
        ({"protocol": "http_dash_segments", "fragments": [{"path": "a.m4s"}], "fragment_base_url": "https://e.com/d/"}, "fragments"),
        ({"protocol": "http_dash_segments"}, "native"),
        ({"protocol": "http_dash_segments", "fragments": [{"url": "file:///etc/passwd"}]}, "native"),
        ({"protocol": "ism"}, "native"),
        ({"impersonate": True}, "native"),
        ({"protocol": "m3u8_native", "hls_aes": {"key": "x"}}, "native"),
    ],
)  # fmt: skip
def test_a_protocol_is_fetched_by(change: dict[str, Any], kind: str) -> None:
    assert made(PLAIN | change)["kind"] == kind


def test_fragments_are_joined_with_their_base() -> None:
    listed = [{"path": "init.mp4"}, {"url": "https://cdn.example/2.m4s", "duration": 4.0}]
    form = PLAIN | {"protocol": "http_dash_segments", "fragments": listed, "fragment_base_url": "https://e.com/d/x.mpd"}
    assert [piece["url"] for piece in made(form)["fragments"]] == [
        "https://e.com/d/init.mp4",
        "https://cdn.example/2.m4s",
    ]


@pytest.mark.parametrize(
    ("change", "is_direct", "expected"),
    [
        ({}, True, ("dash", "https://e.com/m.mpd", "video-1")),
        ({}, False, ("fragments", "https://example.com/v", None)),
        # An open timeline that yt-dlp takes for one segment.
        ({"fragments": [{"url": "https://e.com/1.m4s", "duration": 2.0}]}, False, ("dash", "https://e.com/m.mpd", "video-1")),
        # A manifest without segments, which yt-dlp would save as the film.
        ({"protocol": "https", "url": "https://e.com/m.mpd"}, False, ("dash", "https://e.com/m.mpd", "video-1")),
        ({"protocol": "https", "url": "https://e.com/v.mp4"}, False, ("file", "https://e.com/v.mp4", None)),
        ({"impersonate": True}, True, ("native", "https://example.com/v", None)),
        ({"manifest_url": "file:///etc/passwd"}, True, ("fragments", "https://example.com/v", None)),
    ],
)  # fmt: skip
def test_a_manifest_is_read_by_the_engine_where_yt_dlp_s_reading_is_not_needed(
    change: dict[str, Any], is_direct: bool, expected: tuple[str, str, str | None]
) -> None:
    whole = [{"url": f"https://e.com/{number}.m4s", "duration": 2.0} for number in range(5)]
    dash = {"protocol": "http_dash_segments", "manifest_url": "https://e.com/m.mpd", "fragments": whole}
    form = tame(PLAIN | dash | {"format_id": "video-1"} | change, set())
    described = stream(form, merged=False, cookies=[], duration=10.0, is_direct=is_direct)
    assert (described["kind"], described["url"], described["representation"]) == expected


def test_the_site_s_range_limit_reaches_the_engine() -> None:
    assert made(PLAIN | {"downloader_options": {"http_chunk_size": 10 << 20}})["max_range_bytes"] == 10 << 20


def test_headers_that_belong_to_the_engine_are_left_out() -> None:
    sent = {"User-Agent": "x", "Accept-Encoding": "gzip", "Cookie": "a=b", "Bad": "x\r\nY: z", "Range": "bytes=0-"}
    assert made(PLAIN | {"http_headers": sent})["headers"] == {"User-Agent": "x"}


@pytest.mark.parametrize(
    ("format_id", "ext", "name"),
    [
        ("137", "mp4", "media.f137.mp4"),
        ("../../etc/passwd", "mp4", "media.f______etc_passwd.mp4"),
        ("hls-audio/en", "m4a", "media.fhls-audio_en.m4a"),
        ("1", "mp4/../../x.sh", "media.f1.bin"),
        ("1", "desktop.exe", "media.f1.bin"),
        ("", "", "media.f0.bin"),
        ("x" * 300, "mp4", f"media.f{'x' * 40}.mp4"),
    ],
)
def test_no_site_chooses_a_file_name(format_id: str, ext: str, name: str) -> None:
    assert file_name(tame({"format_id": format_id, "ext": ext}, set()), merged=True) == name


def test_two_formats_of_one_id_get_two_files() -> None:
    taken: set[str] = set()
    first, second = (tame({"format_id": "a/b", "ext": "mp4"}, taken) for _ in range(2))
    assert file_name(first, merged=True) != file_name(second, merged=True)


@pytest.mark.parametrize(
    ("form", "size", "is_estimate"),
    [
        ({"filesize": 10}, 10, False),
        ({"filesize_approx": 20}, 20, True),
        ({"tbr": 800}, 1_000_000, True),
        ({"vbr": 700, "abr": 100}, 1_000_000, True),
        ({"filesize": float("nan"), "tbr": float("inf")}, None, True),
        ({"filesize": -5}, None, True),
        ({"filesize": True}, None, True),
        ({}, None, True),
    ],
)
def test_sizes_come_from_the_site_or_from_bitrate_and_duration(
    form: dict[str, Any], size: int | None, is_estimate: bool
) -> None:
    assert estimate(form, 10.0) == (size, is_estimate)


def test_one_unknown_size_makes_the_sum_unknown() -> None:
    assert total([{"filesize": 1}, {}], None) is None
    assert total([{"filesize": 1}, {"filesize": 2}], None) == 3


def test_the_short_list_names_heights_the_video_has_with_their_sizes() -> None:
    formats = [
        {"vcodec": "none", "acodec": "mp4a", "filesize": 5},
        {"vcodec": "avc1", "acodec": "mp4a", "height": 360, "width": 640, "filesize": 40},
        {"vcodec": "avc1", "acodec": "none", "height": 1080, "width": 1920, "filesize": 100},
        {"vcodec": "vp9", "acodec": "none", "height": 1080, "width": 1920, "filesize": 90},
        {"vcodec": "vp9", "acodec": "none", "height": 1920, "width": 1080, "filesize": 70},
    ]
    choices = {choice["quality"]: choice["size_bytes"] for choice in shortlist(formats, None)}
    assert choices == {"best": 75, "1080p": 105, "360p": 40, "audio": 5}


@pytest.mark.parametrize("value", ["a\ud800b", "x\r\nSet-Cookie: a=b", "nul\0", "t" * 5000])
def test_a_title_is_always_one_line_of_utf_8(value: str) -> None:
    cleaned = text(value)
    assert cleaned is not None
    cleaned.encode("utf-8")
    assert cleaned.isprintable()
    assert len(cleaned) <= 500


@pytest.mark.parametrize(
    "value", ["javascript:alert(1)", "data:image/png;base64,x", "file:///etc/passwd", 5, None, "http://" + "a" * 9000]
)
def test_a_thumbnail_is_a_web_address_or_nothing(value: Any) -> None:
    assert address(value) is None


def test_the_whole_jar_is_handed_over_with_where_each_cookie_belongs() -> None:
    with YoutubeDL({"quiet": True}) as downloader:
        downloader._load_cookies("plain=1; Domain=cdn.example.com; Path=/hls; Secure", autoscope=False)
        downloader._load_cookies("wide=2; Domain=.example.com; Path=/", autoscope=False)
        jar = cookies_in(downloader.cookiejar)
    assert {(one["name"], one["domain"], one["path"], one["secure"]) for one in jar} == {
        ("plain", "cdn.example.com", "/hls", True),
        ("wide", ".example.com", "/", False),
    }
    form = tame(PLAIN, set())
    answer = {
        "title": "t",
        "site": "s",
        "info": {},
        "streams": [stream(form, merged=False, cookies=jar, duration=None)],
    }
    (handed,) = extraction(answer, "1").streams
    assert {one.name for one in handed.cookies} == {"plain", "wide"}
    assert "secret" not in repr(Cookie("a", "secret", "h.example"))
