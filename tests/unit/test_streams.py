"""`--quality` and `--audio` of `vasset fetch`: which streams of a playlist are taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from vasset.adapters.fetch.streams import Choice, NothingSuitable, choose


@dataclass(frozen=True)
class Stream:
    index: int
    kind: str
    height: int | None = None
    bandwidth: int = 0
    language: str | None = None
    name: str | None = None
    audio_group: str | None = None
    is_default: bool = False
    is_separate: bool = True


APART = [
    Stream(0, "video", 720, 2_000_000, audio_group="low"),
    Stream(1, "video", 1080, 5_000_000, audio_group="high"),
    Stream(2, "audio", language="de", name="Deutsch", audio_group="low"),
    Stream(3, "audio", language="de", name="Deutsch", audio_group="high"),
    Stream(4, "audio", language="en-US", name="English", audio_group="high", is_default=True),
]
TOGETHER = [
    Stream(0, "both", 480, 900_000, audio_group="a"),
    Stream(1, "both", 720, 2_000_000, audio_group="a"),
    Stream(2, "audio", language="en", name="English", audio_group="a", is_default=True, is_separate=False),
    Stream(3, "audio", language="fr", name="Commentary", audio_group="a"),
]
LANGUAGES = [
    Stream(0, "video", 720, 2_000_000),
    Stream(1, "audio", bandwidth=640_000, language="fr"),
    Stream(2, "audio", bandwidth=64_000, language="en-US"),
    Stream(3, "audio", bandwidth=128_000, language="en-US"),
    Stream(4, "audio", bandwidth=512_000, language="en-US", name="Commentary"),
    Stream(5, "audio", bandwidth=96_000, language="en"),
]
MAIN = [replace(stream, is_default=stream.index in {2, 3}) for stream in LANGUAGES]


@pytest.mark.parametrize(
    ("streams", "quality", "audio", "expected"),
    [
        (APART, "best", None, Choice(1, 4)),
        (APART, "best", "de", Choice(1, 3)),
        (APART, "best", "english", Choice(1, 4)),
        (APART, "best", "en", Choice(1, 4)),
        (APART, "720p", None, Choice(0, 2)),
        (APART, "1079p", None, Choice(0, 2)),
        (APART, "audio", None, Choice(4)),
        (APART, "audio", "de", Choice(2)),
        (TOGETHER, "best", None, Choice(1)),
        (TOGETHER, "480p", "en", Choice(0)),
        (TOGETHER, "best", "commentary", Choice(1, 3)),
        (TOGETHER, "audio", None, Choice(3)),
        ([Stream(0, "audio", bandwidth=1), Stream(1, "audio", bandwidth=2)], "best", None, Choice(1)),
        (MAIN, "best", None, Choice(0, 3)),
        (MAIN, "audio", None, Choice(3)),
        (MAIN, "best", "fr", Choice(0, 1)),
        (MAIN, "best", "en", Choice(0, 5)),
        (MAIN, "best", "en-us", Choice(0, 3)),
        (MAIN, "best", "Commentary", Choice(0, 4)),
        (LANGUAGES, "best", None, Choice(0, 1)),
        (LANGUAGES, "best", "en-US", Choice(0, 3)),
        ([Stream(0, "both", None, 3), Stream(1, "both", None, 5)], "720p", None, Choice(1)),
    ],
)
def test_takes_the_best_that_was_asked_for(
    streams: list[Stream], quality: str, audio: str | None, expected: Choice
) -> None:
    assert choose(streams, quality, audio) == expected


@pytest.mark.parametrize(
    ("streams", "quality", "audio", "words"),
    [
        (APART, "360p", None, "720p, 1080p"),
        (APART, "best", "ja", "de Deutsch, en-US English"),
        (TOGETHER[:2], "audio", None, "offers none"),
        (TOGETHER[:2], "best", "fr", "'fr'"),
    ],
)
def test_says_what_there_is_when_nothing_is_suitable(
    streams: list[Stream], quality: str, audio: str | None, words: str
) -> None:
    with pytest.raises(NothingSuitable, match=words):
        choose(streams, quality, audio)
