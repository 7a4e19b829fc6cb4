"""What a site made up becomes text that people can read, joined where its script joins."""

from __future__ import annotations

from typing import Any

import pytest

from vasset.adapters.extract.child.text import address, count, pixels, seconds, text
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


@pytest.mark.parametrize(
    "odd",
    [
        "http://[::1/x", "http://[zz]/", "http://x.example:99999999/", "http://x.example:0/", "http://x.example:port/",
        "http://x.example\u2100.com/?a=1", "http:///t.jpg", "http:t.jpg", "https://", "javascript:alert(1)", "//", "", None, 7, ["http://x.example/"],
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_taken_apart_is_none(odd: Any) -> None:
    assert address(odd) is None


@pytest.mark.parametrize(
    "usual", ["https://x.example/?" + "a=1&" * 300, "HTTP://X.example:8080/t.jpg", "https://münchen.example/ü"]
)
def test_a_usual_address_stays(usual: str) -> None:
    assert address(usual) == usual
    assert address("//x.example/t.jpg") == "https://x.example/t.jpg"


@pytest.mark.parametrize("odd", [10**400, -1, float("inf"), float("nan"), True, "7", None, [7]])
def test_a_number_nobody_can_use_is_none(odd: Any) -> None:
    assert (seconds(odd), count(odd), pixels(odd)) == (None, None, None)


def test_numbers_fit_what_carries_them() -> None:
    assert (count(2**53), count(2**53 - 1)) == (None, 2**53 - 1)
    assert (pixels(2**31), pixels(4320)) == (None, 4320)
