"""Validators: strong where bytes are joined, weak where they are only saved."""

from __future__ import annotations

import pytest

from vasset.gateway.files.conditions import entity_tag, if_match_fails, is_not_modified, range_applies

TAG = entity_tag("abc")


@pytest.mark.parametrize(
    "header", [b'"abc"', b'W/"abc"', b"*", b'"x", "abc"', b'"x",W/"abc"', b'"' + b"a" * 5000 + b'", "abc"']
)
def test_a_known_version_is_not_sent_again(header: bytes) -> None:
    assert is_not_modified(header, TAG)


@pytest.mark.parametrize("header", [None, b'"abd"', b"abc", b""])
def test_any_other_version_is_sent(header: bytes | None) -> None:
    assert not is_not_modified(header, TAG)


@pytest.mark.parametrize(("header", "applies"), [
    (None, True), (b'"abc"', True), (b'W/"abc"', False), (b'"abd"', False), (b"Wed, 21 Oct 2015 07:28:00 GMT", False),
])  # fmt: skip
def test_a_resume_is_spliced_only_onto_the_same_bytes(header: bytes | None, applies: bool) -> None:
    assert range_applies(header, TAG) is applies


@pytest.mark.parametrize(("header", "fails"), [
    (None, False), (b"*", False), (b'"abc"', False), (b'"x", "abc"', False), (b'"x"', True), (b'W/"abc"', True), (b'"' + b"y" * 5000 + b'"', True), (b'"' + b"y" * 30_000 + b'", "abc"', False),
])  # fmt: skip
def test_if_match_insists_on_the_strong_tag(header: bytes | None, fails: bool) -> None:
    assert if_match_fails(header, TAG) is fails
