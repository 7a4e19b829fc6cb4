"""A format whose address ran out is found again by what it is, whatever the site calls it now."""

from __future__ import annotations

from typing import Any

from vasset.adapters.extract.child.again import find_again

OPUS = {"format_id": "251", "ext": "webm", "vcodec": "none", "acodec": "opus", "url": "https://a/251", "filesize": 40}


def sound(number: str, language: str | None, url: str = "https://a/?c=WEB", size: int | None = 30) -> dict[str, Any]:
    return {
        "format_id": number,
        "ext": "m4a",
        "vcodec": "none",
        "acodec": "mp4a.40.2",
        "language": language,
        "url": url,
        "filesize": size,
    }


WANTED = {"format_id": "140", "file_name": "media.f140.m4a", "codecs": "none+mp4a.40.2", "language": "en", "size_bytes": 30, "url": "https://a/?c=WEB"}  # fmt: skip


def test_another_number_for_the_same_track_is_the_same_track() -> None:
    found = find_again([OPUS, sound("140-0", "de"), sound("140-1", "en")], [WANTED])
    assert found is not None
    assert (found[0]["language"], found[0]["format_id"]) == ("en", "140")


def test_among_equals_the_same_player_goes_first() -> None:
    other, same = sound("140-1", "en", "https://a/?c=TV"), sound("140-2", "en", "https://b/?c=WEB")
    found = find_again([same, other], [WANTED])
    assert found is not None
    assert found[0]["url"] == same["url"]


def test_a_track_of_another_language_or_length_is_not_it() -> None:
    assert find_again([sound("140", "de")], [WANTED]) is None
    assert find_again([sound("140", "en", size=31)], [WANTED]) is None
    assert find_again([OPUS], [WANTED]) is None


def test_what_nothing_is_known_of_is_known_by_its_name_only() -> None:
    unknown = {**WANTED, "codecs": None, "size_bytes": None, "language": None}
    assert find_again([{"format_id": "1", "ext": "m4a", "url": "https://a/"}], [unknown]) is None
    assert find_again([{"format_id": "140", "ext": "m4a", "url": "https://a/"}], [unknown]) is not None
