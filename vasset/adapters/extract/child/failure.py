"""yt-dlp's exceptions → a class, a kind and words of our own. Upstream text never leaves the child except redacted, to the log.

What a text means stands in ``domain/faults.py``; here is only where yt-dlp keeps its texts, and what its types say without one.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    IncompleteRead,
    ProxyError,
    RequestError,
    SSLError,
    TransportError,
)
from yt_dlp.utils import (
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
    YoutubeDLError,
)

from vasset.adapters.extract.child.formats import FormatRefused
from vasset.domain.faults import KINDS, Kind, explained, kind_of_words

REFUSAL_HEADER = "X-Vasset-Refusal"
REFUSED_TUNNEL = re.compile(r"(?:Tunnel connection failed: 403|CONNECT tunnel failed, response 403)")
# The guard could not reach the site; urllib3 calls every such answer "Unable to connect to proxy", which would blame an exit.
FAILED_TUNNEL = re.compile(r"(?:Tunnel connection failed: |CONNECT tunnel failed, response )50([24])")
SITES = f"{os.sep}extractor{os.sep}"  # of yt-dlp and of plugins
CLASSES = {"unsupported_site": "unsupported", "unavailable_format": "format", "disk_full": "disk_full"}
OVER = frozenset({"not_live", "live_ended", "upcoming"})
# What the guard says of the site; everything else it says is about us.
GUARDS_WORDS = {"timeout": "timeout", "connect": "unreachable"}
TOO_MUCH = "The page asked for more than one page may take; it was stopped."


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


class JobFailed(Exception):
    """A job found out for itself that it cannot succeed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def of_kind(name: str, words: str | None = None) -> Failure:
    kind = KINDS[name]
    return Failure(CLASSES.get(name, "extraction"), words or kind.words, name, kind.is_retried)


def classify(error: BaseException, said: Iterable[str] = ()) -> Failure:
    """The most specific thing to say about ``error`` and what caused it; ``said`` is what yt-dlp warned of before."""
    failure = _classified(error)
    if failure.error not in {"extraction", "format"}:
        return failure
    cause = explained(KINDS.get(failure.kind), said)
    return failure if cause is None or cause.name == failure.kind else of_kind(cause.name)


def _classified(error: BaseException) -> Failure:
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, JobFailed):
            return cause.failure
        if isinstance(cause, FormatRefused):
            return of_kind("unavailable_format", str(cause))
    if any(is_refused(cause) for cause in chain):
        return Failure("egress", "The page leads to an address that is not on the public internet; it was not opened.")
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno in DISK_WORDS:
            return of_kind("disk_full", DISK_WORDS[cause.errno])
        if isinstance(cause, MemoryError):
            return of_kind("crashed", "Reading the page took more memory than one page may take.")
    return _by_type(chain) or _by_words(chain) or _by_place(chain)


def _by_type(chain: list[BaseException]) -> Failure | None:
    for cause in chain:
        if isinstance(cause, UnsupportedError):
            return of_kind("unsupported_site")
        if isinstance(cause, GeoRestrictedError):
            return of_kind("geo_blocked")
        if isinstance(cause, UserNotLive):
            kind = kind_of_words(cause.orig_msg)
            return of_kind(kind.name if kind is not None and kind.name in OVER else "not_live")
        if isinstance(cause, UnavailableVideoError):
            return Failure("postprocess", "A stream of the video is missing; start the download again.", retryable=True)
        if isinstance(cause, PostProcessingError):
            return Failure("postprocess", "The streams could not be made into the requested file; try mkv or original.")
    return None


def _by_words(chain: list[BaseException]) -> Failure | None:
    refusal = next((code for cause in chain if (code := _guards_word(cause))), None)
    if refusal == "limit_exceeded":
        return of_kind(refusal, TOO_MUCH)
    if refusal is not None:  # the guard answers in the site's place
        return of_kind(GUARDS_WORDS.get(refusal, "internal"))
    if (tunnel := _failed_tunnel(chain)) is not None:
        return of_kind(tunnel)
    status = next((cause.status for cause in chain if isinstance(cause, HTTPError)), None)
    if status is not None and status >= 500:
        return of_kind("server_error", f"The site answered with an error of its own (HTTP {status}).")
    if (kind := _kind_by_words(chain)) is not None:
        return of_kind(kind.name)
    if status is not None:
        return of_kind("http_status", f"The site refused to show the page (HTTP {status}).")
    for cause in chain:
        if isinstance(cause, (CertificateVerifyError, SSLError)):
            return of_kind("tls_invalid")
        if isinstance(cause, (TransportError, IncompleteRead, ProxyError)):
            kind = kind_of_words(str(cause))
            return of_kind(
                kind.name if kind is not None and kind.name in {"timeout", "exit_refused"} else "unreachable"
            )
        if isinstance(cause, RequestError):
            return of_kind("invalid_request", "The page leads to an address that is neither http nor https.")
    return None


def _kind_by_words(chain: list[BaseException]) -> Kind | None:
    for cause in chain:
        if isinstance(cause, (ExtractorError, HTTPError)):
            kind = kind_of_words(cause.orig_msg if isinstance(cause, ExtractorError) else str(cause))
            if kind is not None:
                return kind
    return None


def _by_place(chain: list[BaseException]) -> Failure:
    """A page that breaks its extractor was not understood; whatever else breaks is ours, and no page is to blame."""
    if any(isinstance(cause, YoutubeDLError) for cause in chain):
        return of_kind("other")
    frames = (frame for cause in chain for frame in traceback.extract_tb(cause.__traceback__))
    return of_kind("extractor_broken" if any(SITES in frame.filename for frame in frames) else "internal")


def _failed_tunnel(chain: list[BaseException]) -> str | None:
    said = (FAILED_TUNNEL.search(str(cause)) for cause in chain if isinstance(cause, TransportError))
    found = next(filter(None, said), None)
    return found and {"2": "unreachable", "4": "timeout"}[found[1]]


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
