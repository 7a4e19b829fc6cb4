"""JSON that other parsers let through."""

from __future__ import annotations

import json
import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasset.domain.errors import InvalidInput
from vasset.gateway import strict_json
from vasset.gateway.errors import NotText, code_of


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"o":{"a":1,"a":2}}',
        b"NaN",
        b'{"a":NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[-1e999]",
        b"[" * 100_000,
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"9" * 5000,
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b"",
        b"{",
        b"{'a':1}",
        b'{"a":1}x',
        b'"\xff"',
        b'"\x00"',
    ],
)
def test_refuses(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        strict_json.parse(body)


@pytest.mark.parametrize("body", [rb'"\ud800"', rb'{"\udfff":1}', rb'[["x\ud83d"]]'])
def test_a_lone_surrogate_is_no_text(body: bytes) -> None:
    with pytest.raises(NotText) as caught:
        strict_json.parse(body)
    assert code_of(caught.value) // 100 == 422


def test_depth_32_is_still_fine() -> None:
    assert strict_json.parse(b"[" * 32 + b"]" * 32) is not None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_is_well_formed_comes_back_unchanged(value: object) -> None:
    assert strict_json.parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.text(alphabet=string.printable + "\ud800é", max_size=60))
def test_no_input_raises_anything_but_our_errors(text: str) -> None:
    with suppress(InvalidInput, NotText):
        strict_json.parse(text.encode("utf-8", "surrogatepass"))
