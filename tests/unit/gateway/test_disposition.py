"""``Content-Disposition`` for names that sites and users make up."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasset.gateway.files.disposition import content_disposition, may_play_inline, media_type_of

HOSTILE = [
    "../../etc/passwd", "..", ".", "", "a/b\\c", "/etc/x", "C:\\x", "\\\\srv\\x", "CON", "nul.mp4", "x.mp4.", " x ", "-rf",
    "--exec=id", "~root", "$(id)", "`id`", "%(id)s", "a%00.mp4", "a\0b", "\r\nSet-Cookie: a=b", "\u202egpj.exe", "．．／",
    "\u2044", "测" * 200, "💣" * 100, "a" * 256, "\ud800", "e\u0301", ".htaccess", "<script>", '"; filename=evil', "é.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_splits_the_header_or_names_a_folder(name: str) -> None:
    header = content_disposition(name, inline=False)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    plain = header.split('"')[1]
    assert plain
    assert not plain.startswith(".")
    assert not set(plain) & set('/\\";%<>|*?:')
    if "filename*" in header:
        exact = unquote(header.partition("UTF-8''")[2], errors="strict")
        assert not set(exact) & set("/\\\r\n\0\u202e")


@given(st.text(max_size=100))
def test_every_name_gives_a_header_that_can_be_sent(name: str) -> None:
    header = content_disposition(name, inline=False)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith('attachment; filename="')


def test_a_plain_name_needs_no_second_form() -> None:
    assert content_disposition("A film (1080p).mp4", inline=False) == 'attachment; filename="A film (1080p).mp4"'


def test_a_name_beyond_ascii_comes_in_both_forms() -> None:
    header = content_disposition("Schöner Film 🎬.mp4", inline=True)
    assert header == ("inline; filename=\"Schoner Film .mp4\"; filename*=UTF-8''Sch%C3%B6ner%20Film%20%F0%9F%8E%AC.mp4")


@pytest.mark.parametrize("name", ["x.html", "x.svg", "x.js", "x.desktop", "x.exe", "x", "x.mp4.html", "x.php"])
def test_what_a_browser_could_run_is_octets_and_never_inline(name: str) -> None:
    assert media_type_of(name) == "application/octet-stream"
    assert not may_play_inline(media_type_of(name))


@pytest.mark.parametrize(
    ("name", "media_type"), [("x.MP4", "video/mp4"), ("a.b.opus", "audio/ogg"), ("x.mkv", "video/x-matroska")]
)
def test_media_keeps_its_type(name: str, media_type: str) -> None:
    assert media_type_of(name) == media_type
    assert may_play_inline(media_type)


@pytest.mark.parametrize(("name", "plain"), [
    ("видео.mp4", "download-7.mp4"), ("动画 电影.mkv", "download-7.mkv"), ("🎬", "download-7"), ("می\u200cخواهم.webm", "download-7.webm"),
    ("видео 2.mp4", "2.mp4"), ("..", "download-7"), ("видео.фильм", "download-7"), ("Фильм.mp4.exe-файл", "mp4.exe-"),
])  # fmt: skip
def test_a_name_without_latin_letters_has_a_number_instead(name: str, plain: str) -> None:
    assert content_disposition(name, inline=False, number=7).split('"')[1] == plain


@pytest.mark.parametrize("name", ["👨\u200d👩\u200d👧.mp4", "می\u200cخواهم.mp4"])
def test_joiners_arrive(name: str) -> None:
    assert unquote(content_disposition(name, inline=False).partition("UTF-8''")[2]) == name
