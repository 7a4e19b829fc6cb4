"""What a final status of the origin is to a breaker: trouble of the site, enough of us, or one dead link."""

from __future__ import annotations

import pytest

from vasset import _engine
from vasset.adapters.fetch.failures import translated
from vasset.domain.errors import TransferFailed, UrlsExpired


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, "http_status"), (403, "http_status"), (429, "rate_limited"), (499, "http_status"), (500, "server_error"), (503, "server_error")],
)  # fmt: skip
def test_a_status_is_told_apart_by_whose_fault_it_is(status: int, kind: str) -> None:
    error = _engine.HttpStatus(f"HTTP {status}")
    error.status, error.retryable = status, status >= 500
    failure = translated(error)
    assert isinstance(failure, TransferFailed)
    assert (failure.kind, failure.retryable) == (kind, status >= 500)


def test_a_refused_address_is_not_called_expired() -> None:
    """403 is also an address bound to somebody else, or asked for too early: nobody knows that it ran out."""
    failure = translated(_engine.UrlExpired("GET https://site.test/v answered 403"))
    assert isinstance(failure, UrlsExpired)
    assert failure.kind == "media_refused"
