"""Where several addresses of one command go."""

from __future__ import annotations

from pathlib import Path

import pytest

from vasset.adapters.fetch.names import files_for

ONE, TWO = "https://a.example/x/film.mp4?token=1", "https://b.example/film.mp4"


def test_each_address_has_the_file_that_was_named_for_it() -> None:
    assert files_for([ONE, TWO], ["one.mp4", "two.mp4"]) == ["one.mp4", "two.mp4"]


def test_in_a_folder_names_come_from_the_addresses_and_none_twice(tmp_path: Path) -> None:
    urls = [ONE, TWO, "https://c.example/", "https://d.example/%D1%84.mp4", "https://e.example/..%2F..%2Fetc%2Fpasswd"]
    names = ["film.mp4", "film (2).mp4", "video", "ф.mp4", "_.._etc_passwd"]
    assert files_for(urls, [str(tmp_path)]) == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [(["one.mp4"], "once for each"), (["a", "b", "c"], "once for each"), (["a", "a"], "to one file")],
)
def test_what_does_not_fit_is_refused_in_words(outputs: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        files_for([ONE, TWO], outputs)
