"""One table of failures: every refusal we know has its kind, and no site's text can make the search for it slow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.support.refusals import Refusal, refusals
from vasset.domain import errors
from vasset.domain.faults import KINDS, MAX_TEXT, Fault, Retry, kind_named, kind_of, kind_of_words

regex: Any = import_module("re._parser")
ALL = refusals()
WIDEST_GAP = 200


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: f"{refusal.site}: {refusal.message[:60]}")
def test_every_refusal_has_its_kind(refusal: Refusal) -> None:
    found = kind_of_words(refusal.message, [refusal.warning] if refusal.warning else [])
    assert found is not None
    assert found.name == refusal.kind


@pytest.mark.parametrize("refusal", ALL, ids=lambda refusal: f"{refusal.site}: {refusal.message[:60]}")
def test_the_advice_yt_dlp_adds_changes_no_kind(refusal: Refusal) -> None:
    advice = (
        "  Use --cookies, --cookies-from-browser, --username and --password, --netrc-cmd, or --netrc (instagram) to provide account "
        "credentials. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ#how-do-i-pass-cookies-to-yt-dlp  for how to manually pass cookies"
    )
    found = kind_of_words(f"{refusal.message}.{advice}", [refusal.warning] if refusal.warning else [])
    assert found is not None
    assert found.name == refusal.kind


def test_advice_alone_is_no_evidence_of_a_login() -> None:
    words = "Something new; please report this issue on  https://github.com/yt-dlp/yt-dlp/issues?q= , filling out the login template"
    assert kind_of_words(words) is None


def test_a_warning_explains_no_more_than_what_it_can_be_the_cause_of() -> None:
    unsolved = ["n challenge solving failed: Some formats may be missing"]
    assert kind_of_words("Private video", unsolved) is KINDS["private"]
    assert kind_of_words("Requested format is not available", unsolved) is KINDS["challenge_unsolved"]
    assert kind_of_words("nobody has seen this before", unsolved) is KINDS["challenge_unsolved"]


def repetitions(tree: Any) -> Iterator[int]:
    """The upper bound of every repetition in a parsed pattern, nested ones multiplied."""
    for operator, argument in tree:
        if str(operator) in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            inner = max(repetitions(argument[2]), default=1)
            yield int(argument[1]) * inner
        elif str(operator) == "BRANCH":
            for branch in argument[1]:
                yield from repetitions(branch)
        elif str(operator) == "SUBPATTERN":
            yield from repetitions(argument[3])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_pattern_is_linear_over_bounded_text(kind: Any) -> None:
    for pattern in (kind.phrases, kind.hints, kind.evidence):
        if pattern is not None:
            assert max(repetitions(regex.parse(pattern, re.IGNORECASE)), default=1) <= WIDEST_GAP
    assert kind_of_words("x" * (MAX_TEXT + 10) + " Private video") is None


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_says_what_happened_and_what_to_do(kind: Any) -> None:
    assert kind.words.endswith(".")
    assert kind.action.endswith(".")
    assert not (kind.fault is Fault.USER and (kind.is_trouble or kind.blames_exit))
    assert kind.retry is not Retry.NEVER or kind.wait_seconds == 0
    assert kind.explains <= KINDS.keys()


def test_waits_double_and_end_at_an_hour() -> None:
    assert [KINDS["rate_limited"].wait_before(attempt) for attempt in (1, 2, 3, 9)] == [300, 600, 1200, 3600]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ExtractionFailed("", kind="drm"), "drm"),
        (errors.ExtractionFailed("", kind="unheard of"), "task_failed"),
        (errors.ExtractionFailed(), "other"),
        (errors.TransferFailed("", kind="stalled"), "stalled"),
        (errors.TransferFailed("", kind="brand_new"), "transfer_failed"),
        (errors.UnsupportedSite(), "unsupported_site"),
        (errors.EmailTaken(), "internal"),
        (errors.DiskFull(), "disk_full"),
        (errors.Overloaded(), "unavailable"),
        (errors.VAssetError(), "internal"),
    ],
)
def test_every_error_has_a_kind(error: errors.VAssetError, kind: str) -> None:
    assert kind_of(error).name == kind


def test_rows_written_before_there_were_kinds_are_read() -> None:
    assert kind_named(None, "disk_full") is KINDS["disk_full"]
    assert kind_named(None, "extraction_failed") is KINDS["task_failed"]
