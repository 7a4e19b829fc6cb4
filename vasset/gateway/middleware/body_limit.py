"""Bodies over 64 KiB are refused before anybody parses them, announced or chunked, and slow ones are given up.

FastAPI without it took 200 MB and grew from 50 to 440 MB of memory.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vasset.gateway.errors import BadRequest, BodyTooLarge, BodyTooSlow, failure, request_id_of

MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 30.0
LINGER_BYTES = 1024 * 1024
LINGER_SECONDS = 1.0


class BodyLimit:
    """Reads the whole small body up front, so that everything behind it sees one message and no partial reads."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, timeout_seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        try:
            _refuse_announced(scope, self._max_bytes)
            async with asyncio.timeout(self._timeout_seconds):
                body = await _read(receive, self._max_bytes)
        except (BodyTooLarge, BadRequest) as refusal:
            await _refuse(refusal, scope, receive, send)
            return
        except TimeoutError:
            await _refuse(BodyTooSlow(), scope, receive, send)
            return
        if body is None:
            return  # the client went away
        await self._app(scope, _replay(body, receive), send)


def _refuse_announced(scope: Scope, max_bytes: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise BadRequest("The Content-Length header is not a number.")
            if len(value) > 18 or int(value) > max_bytes:
                raise BodyTooLarge()


async def _read(receive: Receive, max_bytes: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise BodyTooLarge()
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(refusal: BadRequest | BodyTooLarge | BodyTooSlow, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, swallow a little more of the body, close.

    A connection closed with unread bytes is reset, and the reset may overtake the answer on its way to the client.
    """
    answer = failure(refusal, request_id_of(scope))
    headers = [*answer.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await _swallow(receive, LINGER_BYTES)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _swallow(receive: Receive, most: int) -> None:
    while most > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return
        most -= len(message.get("body", b""))
