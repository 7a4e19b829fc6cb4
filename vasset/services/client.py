"""What every gRPC client shares: long-lived channel, deadline, metadata, error mapping, retries of idempotent calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

import grpc

from vasset.domain.errors import BreakerOpen, DependencyDown
from vasset.domain.ports import Breaker
from vasset.domain.user import Identity
from vasset.services import context as call_context
from vasset.services.errors import from_rpc
from vasset.services.server import MAX_MESSAGE_BYTES, TlsFiles

Request = TypeVar("Request")
Response = TypeVar("Response")


def open_channel(
    address: str, *, idempotent: Sequence[tuple[str, str]], tls: TlsFiles | None = None
) -> grpc.aio.Channel:
    """A channel to ``host:port`` (or any gRPC name, balanced round-robin over its addresses).

    Only the calls named in ``idempotent`` as ``(service, method)`` are retried, and only when the transport failed. Deadlines are
    given per call: the service config's ``timeout`` fires about a second early (grpc/grpc #34547).
    """
    retry = {
        "maxAttempts": 3,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {"name": [{"service": service, "method": method} for service, method in idempotent], "retryPolicy": retry}
        ],
    }
    options = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.enable_http_proxy", 0),  # services talk to each other directly whatever the environment says
    ]
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(
        tls.authority.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
    )
    return grpc.aio.secure_channel(address, credentials, options=options)


UNTOLD = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""Says nothing about how long the service takes to answer."""


class Remote:
    """Base of the clients: one method, :meth:`_call`.

    With a ``breaker`` a service that mostly lets deadlines pass is left alone for a moment (REQUIREMENTS G): whoever calls it learns so at
    once, as ``DependencyDown``, for which callers have their way out already. A refused connection is not counted: it costs nobody any
    time, and a restart of two seconds would become an outage of thirty.
    """

    service = "remote"
    deadline_is_silence = True
    """Whether a deadline that passed says something about the service itself."""

    def __init__(self, token: str, *, timeout_seconds: float = 5.0, breaker: Breaker | None = None) -> None:
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        identity: Identity | None = None,
        *,
        timeout_seconds: float | None = None,
    ) -> Response:
        """Raises the domain error the service raised, or ``DependencyDown``."""
        self._refuse_while_open()
        try:
            answer = await method(
                request,
                timeout=call_context.remaining_seconds(timeout_seconds or self._timeout_seconds),
                metadata=call_context.outgoing(self._token, identity),
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._record(answered=not self.deadline_is_silence)
            elif error.code() not in UNTOLD:
                self._record(answered=True)
            raise from_rpc(error, self.service) from error
        self._record(answered=True)
        return answer

    def _refuse_while_open(self) -> None:
        if self._breaker is None:
            return
        try:
            self._breaker.check(self.service)
        except BreakerOpen as refusal:
            raise DependencyDown(
                f"The {self.service} service does not answer and is left alone for a moment; try again shortly.",
                retry_after_seconds=refusal.retry_after_seconds,
            ) from refusal

    def _record(self, *, answered: bool) -> None:
        if self._breaker is not None:
            self._breaker.record(self.service, succeeded=answered)
