"""`--quality` and `--audio` of `vasset fetch`: which streams of a playlist are taken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from vasset.adapters.fetch.streams import NothingSuitable, choose


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
CODES = [
    Stream(0, "video", 720, 2_000_000),
    Stream(1, "audio", language="ger", name="Deutsch"),
    Stream(2, "audio", language="eng", name="English"),
    Stream(3, "audio", language="zh-Hant-TW"),
    Stream(4, "audio", language="zh-Hans"),
]
MAIN = [replace(stream, is_default=stream.index in {2, 3}) for stream in LANGUAGES]


@pytest.mark.parametrize(
    ("streams", "quality", "audio", "expected"),
    [
        (APART, "best", None, (1, 4)),
        (APART, "best", "de", (1, 3)),
        (APART, "best", "english", (1, 4)),
        (APART, "best", "en", (1, 4)),
        (APART, "720p", None, (0, 2)),
        (APART, "1079p", None, (0, 2)),
        (APART, "audio", None, (4, None)),
        (APART, "audio", "de", (2, None)),
        (TOGETHER, "best", None, (1, None)),
        (TOGETHER, "480p", "en", (0, None)),
        (TOGETHER, "best", "commentary", (1, 3)),
        (TOGETHER, "audio", None, (3, None)),
        ([Stream(0, "audio", bandwidth=1), Stream(1, "audio", bandwidth=2)], "best", None, (1, None)),
        (MAIN, "best", None, (0, 3)),
        (MAIN, "audio", None, (3, None)),
        (MAIN, "best", "fr", (0, 1)),
        (MAIN, "best", "en", (0, 5)),
        (MAIN, "best", "en-us", (0, 3)),
        (MAIN, "best", "Commentary", (0, 4)),
        (CODES, "best", "en", (0, 2)),
        (CODES, "best", "de", (0, 1)),
        (CODES, "best", "deu", (0, 1)),
        (CODES, "best", "chi", (0, 3)),
        (CODES, "best", "zho-hant", (0, 3)),
        (CODES, "best", "zh-hans", (0, 4)),
        (LANGUAGES, "best", None, (0, 1)),
        (LANGUAGES, "best", "en-US", (0, 3)),
        ([Stream(0, "both", None, 3), Stream(1, "both", None, 5)], "720p", None, (1, None)),
    ],
)
def test_takes_the_best_that_was_asked_for(
    streams: list[Stream], quality: str, audio: str | None, expected: tuple[int, int | None]
) -> None:
    assert choose(streams, quality, audio) == expected


@pytest.mark.parametrize(
    ("streams", "quality", "audio", "words"),
    [
        (APART, "360p", None, "720p, 1080p"),
        (APART, "best", "ja", "de Deutsch, en-US English"),
        (CODES, "best", "de-AT", "ger Deutsch, eng English"),
        (CODES, "best", "zh-Han", "'zh-Han'"),
        (TOGETHER[:2], "audio", None, "offers none"),
        (TOGETHER[:2], "best", "fr", "'fr'"),
    ],
)
def test_says_what_there_is_when_nothing_is_suitable(
    streams: list[Stream], quality: str, audio: str | None, words: str
) -> None:
    with pytest.raises(NothingSuitable, match=words):
        choose(streams, quality, audio)


def test_a_master_of_sound_alone_is_its_variant_not_the_rendition_inside_it() -> None:
    """``EXT-X-MEDIA`` without an address names what the variant carries."""
    offered = [
        Stream(0, "audio", bandwidth=364_000, audio_group="a"),
        Stream(1, "audio", name="English", audio_group="a", is_default=True, is_separate=False),
    ]
    assert choose(offered, "best", None) == (0, None)
    assert choose(offered, "audio", None) == (0, None)
