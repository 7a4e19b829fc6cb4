"""The outermost layer: request id, client address, one log line, one metric, and the last catch for what nobody foresaw."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vasset.gateway.client_address import ClientAddress
from vasset.gateway.errors import internal_failure
from vasset.telemetry.context import new_request_id

log = structlog.get_logger("vasset.gateway")

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
Observe = Callable[[str, str, int, float], None]
"""``(method, route template, status, seconds)``; never a path, which holds ids."""


class RequestLog:
    def __init__(self, app: ASGIApp, client_address: ClientAddress, observe: Observe) -> None:
        self._app = app
        self._client_address = client_address
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        peer = scope["client"][0] if scope.get("client") else None
        address, scheme = self._client_address.find(peer, scope["scheme"], scope["headers"])
        state = scope.setdefault("state", {})
        state.update(request_id=request_id, client_address=address, scheme=scheme)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request_failed", method=scope["method"], route=_template(scope))
            if status:
                raise  # headers are out: the server can only cut the connection
            await internal_failure(request_id)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = _template(scope)
            self._observe(scope["method"], route, status, seconds)
            if scope["path"] not in QUIET:
                log.info(
                    "request",
                    method=scope["method"],
                    route=route,
                    status=status,
                    milliseconds=round(seconds * 1000, 1),
                    client=address,
                )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.match(value):
            return str(value, "ascii")
    return new_request_id()


def _template(scope: Scope) -> str:
    """``/api/v1/downloads/{task_id}``; unknown addresses share one word, so that metrics stay bounded."""
    route = scope.get("route")
    return getattr(route, "path", None) or ("none" if "endpoint" not in scope else "static")
