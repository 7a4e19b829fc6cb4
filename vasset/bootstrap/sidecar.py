"""``/healthz``, ``/readyz`` and ``/metrics`` of a role that speaks gRPC: same answers as the gateway's, on a port of their own.

Three GETs that probes ask every few seconds do not need an application server: uvicorn, Starlette and what they import are 9 MiB in
each of four processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from vasset.domain.errors import DependencyDown

CHECK_SECONDS = 2.0
REQUEST_SECONDS = 5.0
MAX_HEAD_BYTES = 8 * 1024
MAX_CONNECTIONS = 64

Answer = tuple[HTTPStatus, str, bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """``check`` raises when the part does not work, and may answer words when it works but waits; only a ``required`` one makes the role unready."""

    name: str
    check: Callable[[], Awaitable[str | None]]
    required: bool = True


class Sidecar:
    """One answer a connection, which then closes; more than 64 connections at once are closed unanswered."""

    def __init__(self, parts: Sequence[Part], draining: Callable[[], bool]) -> None:
        self._parts = parts
        self._draining = draining
        self._open = 0

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connected, sock=listener, limit=MAX_HEAD_BYTES)
        try:
            yield
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(_encoded(await self._answer(head), with_body=not head.startswith(b"HEAD ")))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # nobody is there to be told
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, head: bytes) -> Answer:
        method, _, rest = head.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return _said(HTTPStatus.METHOD_NOT_ALLOWED, 40501, "only GET is answered here")
        match rest.partition(b" ")[0].partition(b"?")[0]:
            case b"/healthz":
                return _said(HTTPStatus.OK, 0, "ok", {})
            case b"/readyz":
                return await self._readiness()
            case b"/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest()
            case _:
                return _said(HTTPStatus.NOT_FOUND, 40401, "here are /healthz, /readyz and /metrics")

    async def _readiness(self) -> Answer:
        said = dict(
            zip([part.name for part in self._parts], await asyncio.gather(*map(_ask, self._parts)), strict=True)
        )
        missing = [part.name for part in self._parts if part.required and said[part.name] != "ok"]
        if self._draining():
            missing.append("draining")
        if missing:
            return _said(HTTPStatus.SERVICE_UNAVAILABLE, 50301, "not ready", {"parts": said})
        return _said(HTTPStatus.OK, 0, "ok", {"parts": said})


async def ask_all(parts: Sequence[Part]) -> bool:
    """Whether every required part works: what gRPC health reports."""
    said = await asyncio.gather(*(_ask(part) for part in parts if part.required))
    return all(words == "ok" for words in said)


async def _ask(part: Part) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await part.check() or "ok"
    except (TimeoutError, DependencyDown):
        return "does not answer"
    except Exception as error:
        return f"failed ({type(error).__name__})"


def _said(status: HTTPStatus, code: int, message: str, data: dict[str, object] | None = None) -> Answer:
    body = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return status, "application/json", json.dumps(body, separators=(",", ":")).encode()


def _encoded(answer: Answer, *, with_body: bool) -> bytes:
    status, kind, body = answer
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")
