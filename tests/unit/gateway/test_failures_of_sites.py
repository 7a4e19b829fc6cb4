"""What the API says of a site's refusal: of what kind it is, whose fault, and what its reader can do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vasset.domain.errors import ExtractionFailed, QuotaExceeded, UnavailableFormat, VAssetError
from vasset.domain.faults import KINDS
from vasset.gateway.errors import failure


def said(error: VAssetError) -> dict[str, Any]:
    return dict(json.loads(bytes(failure(error, "r1").body)))


@pytest.mark.parametrize(
    ("error", "code", "kind", "fault"),
    [
        (ExtractionFailed("", kind="drm"), 42203, "drm", "site"),
        (ExtractionFailed("", kind="rate_limited", retryable=True), 50201, "rate_limited", "pace"),
        (ExtractionFailed("", kind="members_only"), 42203, "members_only", "user"),
        (ExtractionFailed("", kind="internal", retryable=True), 50002, "internal", "us"),  # no gateway's fault
        (UnavailableFormat(), 42202, "unavailable_format", "user"),
    ],
)
def test_a_refusal_says_whose_fault_it_is(error: VAssetError, code: int, kind: str, fault: str) -> None:
    body = said(error)
    assert (body["code"], body["kind"], body["fault"]) == (code, kind, fault)
    assert body["action"] == KINDS[kind].action


def test_what_is_about_no_site_has_no_kind() -> None:
    assert said(QuotaExceeded()).keys() == {"code", "message", "retryable", "reason", "request_id"}
