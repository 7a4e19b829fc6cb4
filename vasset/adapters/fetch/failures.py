"""The engine's errors become the domain's, once."""

from __future__ import annotations

from vasset import _engine
from vasset.domain.errors import (
    DiskFull,
    EgressRefused,
    InvalidUrl,
    StorageFailed,
    TransferFailed,
    UrlsExpired,
    VAssetError,
)


def translated(error: _engine.EngineError) -> VAssetError:
    """The same words under the domain's class; whether it may be retried is the engine's decision."""
    words = str(error)
    match error:
        case _engine.UrlExpired():
            return UrlsExpired(words, kind="media_refused")
        case _engine.EgressDenied():
            return EgressRefused(words)
        case _engine.InvalidRequest():
            return InvalidUrl(words)
        case _engine.DiskFull():
            return DiskFull(words)
        case _engine.StorageError():
            return StorageFailed(words, retryable=error.retryable)
        case _engine.HttpStatus():
            return TransferFailed(words, kind=_kind_of(error.status), retryable=error.retryable)
        case _engine.Unsupported():
            return TransferFailed(words, kind="unsupported", retryable=False)
        case _:
            return TransferFailed(words, kind=error.code, retryable=error.retryable)


def _kind_of(status: int) -> str:
    """What a breaker must tell apart: a site that is in trouble, one that has enough of us, and one dead link."""
    if status >= 500:
        return "server_error"
    return "rate_limited" if status == 429 else "http_status"
