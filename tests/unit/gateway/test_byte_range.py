"""Reading one ``Range`` header: RFC 9110 §14, every form of the hostile list, and the arithmetic as a property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasset.gateway.files.byte_range import ByteRange, Unsatisfiable, parse_range

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"bytes=0-0", (0, 0)),
        (b"bytes=-1", (999, 999)),
        (b"bytes=0-", (0, 999)),
        (b"bytes=999-", (999, 999)),
        (b"bytes=0-18446744073709551616", (0, 999)),
        (b"bytes=-99999999999999", (0, 999)),
        (b"bytes= 0-5", (0, 5)),
        (b"BYTES=0-5", (0, 5)),
    ],
)
def test_reads_one_range_and_cuts_it_to_the_file(header: bytes, expected: tuple[int, int]) -> None:
    assert parse_range(header, SIZE) == ByteRange(*expected)


@pytest.mark.parametrize(
    "header",
    [
        b"bytes=5-2",
        b"bytes=abc",
        b"items=0-5",
        b"bytes=0-1,2-3",
        b"bytes=0-999,0-999,0-999",
        b"bytes=" + b",".join(b"%d-" % n for n in range(1500)),
        b"bytes=0-5,abc",
        b"bytes=--5",
        b"bytes=+1-5",
        "bytes=٠-٥".encode(),
        b"bytes=-",
        b"bytes=",
        b"",
        b"bytes=1_0-20",
        b"bytes=0x0-5",
        b"bytes=0-5;",
    ],
)
def test_ignores_what_is_not_exactly_one_range(header: bytes) -> None:
    assert parse_range(header, SIZE) is None


@pytest.mark.parametrize("header", [b"bytes=-0", b"bytes=1000-", b"bytes=999999-", b"bytes=1000-2000"])
def test_a_range_outside_the_file_is_unsatisfiable(header: bytes) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, SIZE)


@pytest.mark.parametrize("header", [b"bytes=0-", b"bytes=-1", b"bytes=0-0"])
def test_an_empty_file_has_no_ranges(header: bytes) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 0)


@given(st.integers(0, 2**70), st.integers(0, 2**70), st.integers(1, 2**60))
def test_a_range_never_leaves_the_file_and_never_starts_elsewhere(first: int, last: int, size: int) -> None:
    try:
        found = parse_range(b"bytes=%d-%d" % (first, last), size)
    except Unsatisfiable:
        assert first >= size
        return
    if found is None:
        assert last < first
        return
    assert (found.first, found.last) == (first, min(last, size - 1))
    assert 0 <= found.first <= found.last < size


@given(st.binary(max_size=64))
def test_no_header_breaks_the_parser(header: bytes) -> None:
    try:
        found = parse_range(b"bytes=" + header, 100)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found.first <= found.last < 100
