"""Answer only to the names we go by: a rebound DNS name must not reach a private instance (CVE-2026-33511 of pyLoad)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from vasset.gateway.errors import BadRequest, HttpRefusal, UnknownHost, failure, request_id_of

HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Kubernetes and Prometheus ask by address."""


class AllowedHost:
    """``*.example.org`` stands for every name below it. With no list every well-formed Host is accepted."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in allowed if not name.startswith("*."))
        self._suffixes = tuple(name[1:].lower() for name in allowed if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._judge(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await failure(refusal, request_id_of(scope))(scope, receive, send)

    def _judge(self, scope: Scope) -> HttpRefusal | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return None if not hosts and scope["http_version"] == "1.0" else BadRequest("Send exactly one Host header.")
        found = HOST.match(hosts[0].decode("latin-1"))
        if found is None:
            return BadRequest("The Host header is malformed.")
        name = found["name"].lower().rstrip(".")
        if (self._names or self._suffixes) and scope["path"] not in PROBES:
            known = name in self._names or bool(self._suffixes and name.endswith(self._suffixes))
            return None if known else UnknownHost()
        return None
