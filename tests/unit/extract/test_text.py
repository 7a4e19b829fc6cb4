"""What a site made up becomes text that people can read, joined where its script joins."""

from __future__ import annotations

import pytest

from vasset.adapters.extract.child.text import text
from vasset.adapters.storage.titles import safe_title


@pytest.mark.parametrize("title", ["می\u200cخواهم", "👨\u200d👩\u200d👧\u200d👦", "क्\u200dष", "🏳️\u200d🌈 पर्\u200cव"])
def test_joiners_stay_in_title_and_file_name(title: str) -> None:
    assert text(title) == title
    assert safe_title(title) == title


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Prüf\u00adung", "Prüfung"), ("\u200eleft\u200f", "left"), ("\u202egpj.exe", "gpj.exe"), ("\ufeffa\u200bb", "ab"),
        ("a\nb\tc\0d", "a b c d"), ("a\u00a0b\u3000c", "a b c"), ("a\u2028b", "a b"), ("\u200d", None), (" \u200c ", None),
        ("a\u200d" * 600, ("a\u200d" * 250)[:-1]),
    ],
)  # fmt: skip
def test_what_is_invisible_leaves_no_gap_and_what_separates_leaves_one(title: str, shown: str | None) -> None:
    assert text(title) == shown
