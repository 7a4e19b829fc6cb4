"""yt-dlp's exceptions → a class, a kind and words of our own. Upstream text never leaves the child except redacted, to the log."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    IncompleteRead,
    ProxyError,
    RequestError,
    TransportError,
)
from yt_dlp.utils import (
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
)

from vasset.adapters.extract.child.formats import FormatRefused

REFUSAL_HEADER = "X-Vasset-Refusal"
REFUSED_TUNNEL = re.compile(r"(?:Tunnel connection failed: 403|CONNECT tunnel failed, response 403)")

KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("drm", r"\bDRM\b"),
        ("bot_check", r"not a (?:ro)?bot|captcha|anti-bot|cloudflare|impersonat"),
        ("rate_limited", r"HTTP Error 429|too many requests|rate.?limit"),
        ("private", r"\bprivate\b"),
        ("geo_blocked", r"(?:your|this|the) (?:country|location|region)|geo.?(?:restrict|block)"),
        (
            "login_required",
            r"log.?in|sign.?in|account|registered users|--cookies|members?.only|subscri|purchase|password",
        ),
        ("upcoming", r"premieres? in|will begin|upcoming|not begun|scheduled"),
        ("live", r"not currently live|live event|livestream|is offline"),
        ("removed", r"HTTP Error (?:404|410)|unavailable|removed|deleted|no longer|not exist|not found|terminated"),
        ("timeout", r"timed? ?out|timeout"),
    )
)
RETRYABLE_KINDS = frozenset({"rate_limited", "bot_check", "timeout"})
WORDS = {
    "drm": "The video is protected by DRM and cannot be downloaded.",
    "bot_check": "The site asks for proof that no robot is asking; try again later or through another exit.",
    "rate_limited": "The site says that too many requests came from here; try again later.",
    "private": "The video is private.",
    "geo_blocked": "The video is not available in the country this server is seen in.",
    "login_required": "The site shows this video to signed-in visitors only.",
    "upcoming": "This has not begun yet; start the download when it has.",
    "live": "Nothing is being streamed at this address right now; start the download when the stream has begun.",
    "removed": "The video does not exist or was removed.",
    "timeout": "The site did not answer in time; try again later.",
}


DISK_WORDS = {
    errno.ENOSPC: "The disk filled up while the file was being put together.",
    errno.EDQUOT: "The disk filled up while the file was being put together: its quota is used up.",
    errno.EFBIG: "The file became larger than a file may be here.",
    errno.EROFS: "The disk became read-only while the file was being put together.",
    errno.EIO: "The disk failed while the file was being put together.",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """``error`` names the domain class: extraction, unsupported, format, egress, postprocess, disk_full, url."""

    error: str
    message: str
    kind: str = "other"
    retryable: bool = False

    def as_message(self) -> dict[str, Any]:
        return {"event": "failed", **asdict(self)}


UNREACHABLE = Failure(
    "extraction", "The connection to the site failed; try again later.", "unreachable", retryable=True
)


class JobFailed(Exception):
    """A job found out for itself that it cannot succeed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def of_kind(kind: str) -> Failure:
    return Failure("extraction", WORDS[kind], kind, kind in RETRYABLE_KINDS)


def classify(error: BaseException) -> Failure:
    """The most specific thing to say about ``error`` and what caused it."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, JobFailed):
            return cause.failure
        if isinstance(cause, FormatRefused):
            return Failure("format", str(cause))
    if any(is_refused(cause) for cause in chain):
        return Failure("egress", "The page leads to an address that is not on the public internet; it was not opened.")
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno in DISK_WORDS:
            return Failure("disk_full", DISK_WORDS[cause.errno], retryable=True)
        if isinstance(cause, MemoryError):
            return Failure("extraction", "Reading the page took more memory than one page may take.", "crashed", True)
    return _by_type(chain) or _by_words(chain) or Failure("extraction", "The site's page could not be read.")


def _by_type(chain: list[BaseException]) -> Failure | None:
    for cause in chain:
        if isinstance(cause, UnsupportedError):
            return Failure("unsupported", "No video was recognised behind this address.")
        if isinstance(cause, GeoRestrictedError):
            return of_kind("geo_blocked")
        if isinstance(cause, UserNotLive):
            return of_kind("live")
        if isinstance(cause, UnavailableVideoError):
            return Failure("postprocess", "A stream of the video is missing; start the download again.", retryable=True)
        if isinstance(cause, PostProcessingError):
            return Failure("postprocess", "The streams could not be made into the requested file; try mkv or original.")
        if isinstance(cause, ExtractorError) and "Requested format is not available" in str(cause):
            return Failure("format", "The requested quality or format does not exist for this video.")
    return None


def _by_words(chain: list[BaseException]) -> Failure | None:
    refusal = next((code for cause in chain if (code := _guards_word(cause))), None)
    if refusal is not None:  # the guard answers in the site's place
        return of_kind("timeout") if refusal == "timeout" else UNREACHABLE
    status = next((cause.status for cause in chain if isinstance(cause, HTTPError)), None)
    if status is not None and status >= 500:
        return Failure(
            "extraction", f"The site answered with an error of its own (HTTP {status}).", "server_error", True
        )
    text = " ".join(str(cause) for cause in chain if isinstance(cause, (ExtractorError, HTTPError)))
    for kind, pattern in KINDS:
        if pattern.search(text):
            return of_kind(kind)
    if status is not None:
        return Failure("extraction", f"The site refused to show the page (HTTP {status}).")
    for cause in chain:
        if isinstance(cause, CertificateVerifyError):
            return Failure("extraction", "The site's TLS certificate is not valid.")
        if isinstance(cause, (TransportError, IncompleteRead, ProxyError)):
            if KINDS[-1][1].search(str(cause)):
                return of_kind("timeout")
            return UNREACHABLE
        if isinstance(cause, RequestError):
            return Failure("extraction", "The page leads to an address that is neither http nor https.")
    return None


def _guards_word(cause: BaseException) -> str | None:
    return cause.response.headers.get(REFUSAL_HEADER) if isinstance(cause, HTTPError) else None


def is_refused(cause: BaseException) -> bool:
    if isinstance(cause, HTTPError):
        return _guards_word(cause) == "egress_denied"
    return isinstance(cause, ProxyError) and REFUSED_TUNNEL.search(str(cause)) is not None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what lies beneath, through every way yt-dlp keeps a cause."""
    pending: list[Any] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop(0)
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        information = getattr(current, "exc_info", None) or (None, None)
        pending += [getattr(current, "cause", None), information[1], current.__cause__, current.__context__]
        pending += list(current.args)
