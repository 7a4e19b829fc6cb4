"""yt-dlp's many ways to fail → one of our kinds, in our words."""

from __future__ import annotations

import io

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import HTTPError, ProxyError, SSLError, TransportError
from yt_dlp.utils import (
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnsupportedError,
    UserNotLive,
)

from vasset.adapters.extract.child.failure import classify
from vasset.domain.faults import KINDS

CANARY = "canary-token-5f3a"


def wrapped(error: Exception) -> DownloadError:
    """As yt-dlp hands errors out: the cause in ``exc_info``."""
    return DownloadError(f"ERROR: {error}", (type(error), error, None))


def http_error(status: int, headers: dict[str, str] | None = None) -> HTTPError:
    return HTTPError(Response(io.BytesIO(b""), f"https://example.com/?token={CANARY}", headers or {}, status=status))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Private video. Sign in if you've been granted access", "private"),
        ("Sign in to confirm your age", "age_restricted"),
        ("This video is only available for registered users. Use --cookies", "login_required"),
        ("Sign in to confirm you’re not a bot", "bot_check"),
        ("Got HTTP Error 403 caused by Cloudflare anti-bot challenge", "fingerprint_refused"),
        ("The uploader has not made this video available in your country", "geo_blocked"),
        ("Video unavailable", "removed"),
        ("This video has been removed by the uploader", "removed"),
        ("This video is DRM protected", "drm"),
        ("This live event will begin in 3 hours.", "upcoming"),
        ("The channel is not currently live", "not_live"),
        ("HTTP Error 429: Too Many Requests", "rate_limited"),
        ("The read operation timed out", "timeout"),
        ("Something nobody has seen before", "other"),
    ],
)
def test_knows_the_kind_by_the_words(words: str, kind: str) -> None:
    failure = classify(wrapped(ExtractorError(words, expected=True)))
    assert (failure.error, failure.kind) == ("extraction", kind)
    assert failure.retryable == (kind in {"rate_limited", "bot_check", "fingerprint_refused", "timeout"})


def test_upstream_text_is_never_repeated() -> None:
    failure = classify(wrapped(ExtractorError(f"login: https://example.com/?token={CANARY}", expected=True)))
    assert CANARY not in failure.message
    assert failure.message == KINDS["login_required"].words


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnsupportedError("https://example.com/"), ("unsupported", "unsupported_site")),
        (GeoRestrictedError("no", countries=["AQ"]), ("extraction", "geo_blocked")),
        (UserNotLive(), ("extraction", "not_live")),
        (UserNotLive("This livestream has ended"), ("extraction", "live_ended")),
        (SSLError("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE]"), ("extraction", "tls_invalid")),
        (PostProcessingError("conversion failed"), ("postprocess", "other")),
        (
            ExtractorError("x: Requested format is not available. Use --list-formats", expected=True),
            ("format", "unavailable_format"),
        ),
        (OSError(28, "No space left on device"), ("disk_full", "disk_full")),
        (MemoryError(), ("extraction", "crashed")),
    ],
)
def test_knows_the_class_by_the_type(error: Exception, expected: tuple[str, str]) -> None:
    failure = classify(wrapped(error))
    assert (failure.error, failure.kind) == expected


@pytest.mark.parametrize(("status", "kind", "retryable"), [(404, "removed", False), (410, "removed", False), (429, "rate_limited", True), (503, "server_error", True), (403, "ip_blocked", False), (418, "http_status", False)])  # fmt: skip
def test_knows_an_http_status_below_an_extractor_error(status: int, kind: str, retryable: bool) -> None:
    failure = classify(wrapped(ExtractorError("Unable to download webpage", cause=http_error(status))))
    assert (failure.kind, failure.retryable) == (kind, retryable)
    assert CANARY not in failure.message


@pytest.mark.parametrize(
    "cause",
    [
        ProxyError("('Unable to connect to proxy', OSError('Tunnel connection failed: 403 Forbidden'))"),
        ProxyError("CONNECT tunnel failed, response 403"),
        http_error(403, {"X-Vasset-Refusal": "egress_denied"}),
    ],
)
def test_a_refusal_of_the_guard_is_told_apart_from_a_refusal_of_the_site(cause: Exception) -> None:
    assert classify(wrapped(ExtractorError("Unable to download webpage", cause=cause))).error == "egress"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("('Unable to connect to proxy', OSError('Tunnel connection failed: 502 Bad Gateway'))", "unreachable"),
        ("('Unable to connect to proxy', OSError('Tunnel connection failed: 504 Gateway Timeout'))", "timeout"),
        ("CONNECT tunnel failed, response 502", "unreachable"),
        ("SOCKS5 authentication failed", "exit_refused"),
    ],
)
def test_a_site_that_is_away_is_no_fault_of_an_exit(words: str, kind: str) -> None:
    """Every https:// site is behind the guard's tunnel, a misspelt name too."""
    failure = classify(wrapped(ExtractorError(f"Unable to download webpage: {words}", cause=ProxyError(words))))
    assert failure.kind == kind


def test_a_broken_connection_is_tried_again() -> None:
    failure = classify(wrapped(ExtractorError("Unable to download webpage", cause=TransportError("reset by peer"))))
    assert (failure.error, failure.kind, failure.retryable) == ("extraction", "unreachable", True)


def test_what_was_warned_of_is_the_cause_of_what_failed() -> None:
    refused = wrapped(ExtractorError("x: Requested format is not available. Use --list-formats", expected=True))
    failure = classify(refused, ["n challenge solving failed: Some formats may be missing"])
    assert (failure.error, failure.kind) == ("extraction", "challenge_unsolved")


def test_a_fault_of_our_own_is_no_fault_of_the_page() -> None:
    try:
        raise KeyError("streams")
    except KeyError as error:
        failure = classify(error)
    assert (failure.kind, failure.message) == ("internal", KINDS["internal"].words)


def test_a_page_that_breaks_its_extractor_is_one() -> None:
    failing: dict[str, object] = {}
    exec(compile("def read(page):\n    return page['missing']", "/somewhere/yt_dlp/extractor/site.py", "exec"), failing)
    try:
        failing["read"]({})  # type: ignore[operator]
    except KeyError as error:
        failure = classify(error)
    assert failure.kind == "extractor_broken"


@pytest.mark.parametrize(
    ("word", "kind"),
    [("timeout", "timeout"), ("connect", "unreachable"), ("limit_exceeded", "limit_exceeded"), ("sign_in", "internal")],
)
def test_the_guards_refusals_about_us_are_no_fault_of_the_connection(word: str, kind: str) -> None:
    cause = http_error(403, {"X-Vasset-Refusal": word})
    assert classify(wrapped(ExtractorError("Unable to download webpage", cause=cause))).kind == kind
