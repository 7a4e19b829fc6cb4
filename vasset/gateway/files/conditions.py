"""Conditional requests on a file whose strong ETag is its hash (RFC 9110 §13). A request head is 32 KiB at most, and so are these headers."""

from __future__ import annotations

import re

ENTITY_TAG = re.compile(rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def entity_tag(digest: str) -> bytes:
    return b'"' + digest.encode("ascii") + b'"'


def is_not_modified(if_none_match: bytes | None, tag: bytes) -> bool:
    """Weak comparison (§13.1.2): a proxy may have weakened our tag."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == b"*":
        return True
    return any(found.removeprefix(b"W/") == tag for found in ENTITY_TAG.findall(if_none_match))


def if_match_fails(if_match: bytes | None, tag: bytes) -> bool:
    """Strong comparison (§13.1.1): 412 when the client insists on another version."""
    if if_match is None or if_match.strip() == b"*":
        return False
    return tag not in ENTITY_TAG.findall(if_match)


def range_applies(if_range: bytes | None, tag: bytes) -> bool:
    """Whether ``Range`` counts (§13.1.5). Only our own strong tag does; we send no Last-Modified, so a date never matches."""
    return if_range is None or if_range.strip() == tag
