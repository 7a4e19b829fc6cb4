"""Every failure a use case can report.

::

    VAssetError
    ├── InvalidInput            ├── InvalidUrl  ├── EgressRefused  ├── UnsupportedSite  └── UnavailableFormat
    ├── Unauthenticated         ├── InvalidCredentials  ├── TokenExpired  └── TokenRevoked
    ├── Forbidden               └── RegistrationClosed
    ├── NotFound
    ├── Conflict                ├── EmailTaken  ├── IdempotencyMismatch  ├── IdempotencyInFlight  └── IllegalTransition
    ├── LimitReached            ├── QuotaExceeded  ├── TooManyRequests  └── TooManyTasks
    ├── Unavailable             ├── DependencyDown  ├── Overloaded  ├── BreakerOpen  └── DiskPressure
    └── TaskError               ├── ExtractionFailed  ├── TransferFailed  ├── PostprocessFailed
                                ├── UrlsExpired  ├── StorageFailed ── DiskFull  ├── TaskTimedOut  └── LeaseLost

``reason`` is the stable machine word (API ``error.code`` of a task, dead letters, metrics); ``retryable`` is decided here, once.
HTTP and gRPC statuses are not known here: ``gateway/errors.py`` and ``services/errors.py`` map classes outward.
"""

from __future__ import annotations

from typing import ClassVar


class VAssetError(Exception):
    """The operation failed."""

    reason: ClassVar[str] = "internal"
    retryable: bool = False

    def __init__(
        self, message: str | None = None, *, retry_after_seconds: float | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.retry_after_seconds = retry_after_seconds
        if retryable is not None:
            self.retryable = retryable

    @property
    def message(self) -> str:
        """What was attempted, on what, and what to do next, in words fit for the user."""
        return str(self.args[0])


class InvalidInput(VAssetError):
    """A value is malformed; correct it and send the request again."""

    reason = "invalid_input"


class InvalidUrl(InvalidInput):
    """The URL is not a well-formed http or https address."""

    reason = "invalid_url"


class EgressRefused(InvalidInput):
    """The address is not on the public internet and is not in the operator's allow-list."""

    reason = "egress_refused"


class UnsupportedSite(InvalidInput):
    """No extractor recognises a video behind this URL."""

    reason = "unsupported_site"


class UnavailableFormat(InvalidInput):
    """The requested quality or format does not exist for this video; choose one that /parse lists."""

    reason = "unavailable_format"


class Unauthenticated(VAssetError):
    """Sign in first: the request carries no valid token."""

    reason = "unauthenticated"


class InvalidCredentials(Unauthenticated):
    """The email or the password is wrong."""

    reason = "invalid_credentials"


class TokenExpired(Unauthenticated):
    """The token has expired; refresh it or sign in again."""

    reason = "token_expired"


class TokenRevoked(Unauthenticated):
    """The session was ended; sign in again."""

    reason = "token_revoked"


class Forbidden(VAssetError):
    """This account is not allowed to do that."""

    reason = "forbidden"


class RegistrationClosed(Forbidden):
    """Registration is closed here; ask the administrator for an invitation."""

    reason = "registration_closed"


class NotFound(VAssetError):
    """There is no such thing, or it belongs to somebody else."""

    reason = "not_found"


class Conflict(VAssetError):
    """The request contradicts the present state."""

    reason = "conflict"


class EmailTaken(Conflict):
    """An account with this email exists already; sign in instead."""

    reason = "email_taken"


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used with a different request; choose a new key."""

    reason = "idempotency_mismatch"


class IdempotencyInFlight(Conflict):
    """The first request with this Idempotency-Key is still running; repeat it in a moment."""

    reason = "idempotency_in_flight"
    retryable = True


class IllegalTransition(Conflict):
    """The task is not in a state that allows this."""

    reason = "illegal_transition"


class LimitReached(VAssetError):
    """A limit was reached."""

    reason = "limit_reached"
    retryable = True


class QuotaExceeded(LimitReached):
    """Today's download quota is used up."""

    reason = "quota_exceeded"


class TooManyRequests(LimitReached):
    """Too many requests; slow down."""

    reason = "too_many_requests"


class TooManyTasks(LimitReached):
    """Too many unfinished downloads; wait for one to end or cancel one."""

    reason = "too_many_tasks"


class Unavailable(VAssetError):
    """A part of the service is not available; try again shortly."""

    reason = "unavailable"
    retryable = True


class DependencyDown(Unavailable):
    """A server this needs does not answer; try again shortly."""

    reason = "dependency_down"


class ServiceTokenRefused(DependencyDown):
    """A service refuses the caller's service token; every service must share the same VASSET_SERVICE_TOKEN."""

    reason = "service_token_refused"


class Overloaded(Unavailable):
    """The service is busy; try again shortly."""

    reason = "overloaded"


class BreakerOpen(Unavailable):
    """The site keeps failing and is left alone for a moment."""

    reason = "breaker_open"


class DiskPressure(Unavailable):
    """The disk is nearly full; downloads wait until space is free."""

    reason = "disk_pressure"


class TaskError(VAssetError):
    """The download failed."""

    reason = "task_failed"


class ExtractionFailed(TaskError):
    """The page could not be read."""

    reason = "extraction_failed"

    def __init__(self, message: str | None = None, *, kind: str = "other", retryable: bool = False) -> None:
        """``kind`` is a name of ``domain/faults.py``."""
        super().__init__(message, retryable=retryable)
        self.kind = kind


class TransferFailed(TaskError):
    """The bytes could not be fetched from the origin."""

    reason = "transfer_failed"

    def __init__(self, message: str | None = None, *, kind: str = "other", retryable: bool = True) -> None:
        """``kind`` is the engine's error code (``origin_changed``, ``stalled``, ``http_status`` …)."""
        super().__init__(message, retryable=retryable)
        self.kind = kind


class UrlsExpired(TransferFailed):
    """The site refuses its own media addresses in mid-download; ask for fresh ones and go on."""

    reason = "urls_expired"


class PostprocessFailed(TaskError):
    """The fetched streams could not be made into the requested file."""

    reason = "postprocess_failed"


class StorageFailed(TaskError):
    """The file could not be stored."""

    reason = "storage_failed"
    retryable = True


class DiskFull(StorageFailed):
    """The disk is full; the download goes on when space is free."""

    reason = "disk_full"


class TaskTimedOut(TaskError):
    """The download took longer than a task may take."""

    reason = "task_timed_out"


class LeaseLost(TaskError):
    """Another worker took the task over; this one must stop without writing."""

    reason = "lease_lost"
