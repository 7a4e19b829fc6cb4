"""Domain errors across gRPC: mapped once on the way out, once on the way in.

The class travels as ``vasset-reason`` in the trailing metadata; the status code is for everybody who does not know it
(proxies, grpcurl, retry policies).
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from vasset.domain import errors

STATUS: dict[type[errors.VAssetError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LimitReached: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.ServiceTokenRefused: grpc.StatusCode.UNAUTHENTICATED,
    errors.Unavailable: grpc.StatusCode.ABORTED,  # not UNAVAILABLE: the transport's retries are for the transport
    errors.TaskError: grpc.StatusCode.FAILED_PRECONDITION,
}
REASON, RETRY_AFTER, RETRYABLE, KIND = "vasset-reason", "vasset-retry-after", "vasset-retryable", "vasset-kind"


def _classes(root: type[errors.VAssetError]) -> Iterator[type[errors.VAssetError]]:
    yield root
    for child in root.__subclasses__():
        yield from _classes(child)


BY_REASON = {found.reason: found for found in reversed(list(_classes(errors.VAssetError)))}


def status_of(error: errors.VAssetError) -> grpc.StatusCode:
    for ancestor in type(error).__mro__:
        if ancestor in STATUS:
            return STATUS[ancestor]
    return grpc.StatusCode.INTERNAL


def to_metadata(error: errors.VAssetError) -> tuple[tuple[str, str], ...]:
    pairs = [(REASON, error.reason), (RETRYABLE, "1" if error.retryable else "0")]
    if error.retry_after_seconds is not None:
        pairs.append((RETRY_AFTER, f"{error.retry_after_seconds:.3f}"))
    if kind := getattr(error, "kind", None):
        pairs.append((KIND, str(kind)))
    return tuple(pairs)


def from_rpc(error: grpc.aio.AioRpcError, service: str) -> errors.VAssetError:
    """The domain error the other side raised, or ``DependencyDown`` when it did not answer."""
    metadata = {key: value for key, value in (error.trailing_metadata() or ()) if isinstance(value, str)}
    found = BY_REASON.get(metadata.get(REASON, ""))
    if found is not None:
        made = found(error.details() or None)
        made.retryable = metadata.get(RETRYABLE) == "1"
        made.retry_after_seconds = _seconds(metadata.get(RETRY_AFTER))
        if KIND in metadata and hasattr(made, "kind"):
            made.kind = metadata[KIND]
        return made
    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        return errors.DependencyDown(
            f"The {service} service does not answer; try again in a moment.", retry_after_seconds=2.0
        )
    if error.code() in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT}:
        return errors.InvalidInput(f"The {service} service refused the request as malformed or too large.")
    return errors.VAssetError(f"The {service} service failed; the request id leads to its log.")


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
