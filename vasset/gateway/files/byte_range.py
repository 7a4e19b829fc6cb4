"""The ``Range`` header of a GET (RFC 9110 §14), one range only.

Policy: a header that is not exactly ``bytes=`` and one range, several ranges among them, is ignored and the whole file sent with
200, as §14.2 allows; one well-formed range that lies outside the file is 416. Several ranges are not worth their multipart answers:
that code was O(n²) in a framework of ours once (CVE-2025-62727), and no player asks for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEADER_BYTES = 1024
ONE_RANGE = re.compile(rb"[Bb][Yy][Tt][Ee][Ss]=[ \t]*([0-9]*)-([0-9]*)[ \t]*\Z")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """``first`` to ``last``, both included, both inside the file."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


class Unsatisfiable(Exception):
    """The range is well formed and lies outside the file: 416."""


def parse_range(header: bytes, size: int) -> ByteRange | None:
    """The asked range cut to the file, None when the header is to be ignored. Raises :class:`Unsatisfiable`."""
    if len(header) > MAX_HEADER_BYTES:
        return None
    found = ONE_RANGE.match(header)
    if found is None:
        return None
    first_digits, last_digits = found.groups()
    if not first_digits:
        return _suffix(last_digits, size)
    first = int(first_digits)
    if last_digits and int(last_digits) < first:
        return None  # §14.1.1: an invalid range, not an unsatisfiable one
    if first >= size:
        raise Unsatisfiable
    last = min(int(last_digits), size - 1) if last_digits else size - 1
    return ByteRange(first, last)


def _suffix(digits: bytes, size: int) -> ByteRange | None:
    if not digits:
        return None
    length = int(digits)
    if length == 0 or size == 0:
        raise Unsatisfiable
    return ByteRange(max(0, size - length), size - 1)
