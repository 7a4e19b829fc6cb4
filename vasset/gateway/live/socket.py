"""``GET /api/v1/ws``: ticket, Origin, snapshot, frames, and an end for every way a peer can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from vasset.domain.errors import InvalidInput, VAssetError
from vasset.domain.ports import Clock
from vasset.gateway import strict_json
from vasset.gateway.errors import code_of
from vasset.gateway.live.hub import MAX_WATCHED, ProgressHub, TooManySockets
from vasset.gateway.live.session_watch import SessionWatch
from vasset.gateway.live.watcher import Watcher
from vasset.gateway.shapes import frame_shape
from vasset.gateway.tickets import Bearer, Tickets
from vasset.usecases.end_tasks import end_tasks

PROTOCOL = "vasset.v1"
TICKET_PREFIX = "ticket."
PURPOSE = "ws"
SEND_SECONDS = 5.0
INBOUND_PER_SECOND = 5.0
INBOUND_BURST = 20.0
TASK_ID = re.compile(r"[0-9a-fA-F-]{32,36}\Z")

UNAUTHORISED, FORBIDDEN, SESSION_ENDED, BAD_MESSAGE, FLOOD, TOO_MANY = 4401, 4403, 4401, 4400, 4429, 4429
"""Close codes: 4000 + the HTTP status that would say the same."""


class ProgressSocket:
    """Serves every progress connection of this process."""

    def __init__(
        self, hub: ProgressHub, tickets: Tickets, sessions: SessionWatch, clock: Clock, allowed_origins: Sequence[str]
    ) -> None:
        self._hub = hub
        self._tickets = tickets
        self._sessions = sessions
        self._clock = clock
        self._allowed_origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)

    async def serve(self, socket: WebSocket) -> None:
        if not self._origin_is_allowed(socket):
            await socket.close(FORBIDDEN)
            return
        bearer = await self._redeem(socket)
        if bearer is None:
            # Accepted first: a browser shows the page no code for a refused handshake, and the page must know to buy a new ticket.
            await _accept_and_close(socket, UNAUTHORISED, "the ticket is unknown, used or older than 30 s")
            return
        try:
            watcher = await self._hub.join(bearer.user_id)
        except TooManySockets as error:
            await _accept_and_close(socket, TOO_MANY, error.message)
            return
        try:
            await socket.accept(subprotocol=PROTOCOL)
            await _Conversation(socket, watcher, self._hub, self._clock).run(bearer, self._sessions)
        finally:
            await self._hub.leave(watcher)

    def _origin_is_allowed(self, socket: WebSocket) -> bool:
        """Own host or allow-list. No Origin means no browser: the ticket alone proves such a client."""
        origins = socket.headers.getlist("origin")
        if not origins:
            return True
        if len(origins) > 1:
            return False
        origin = origins[0].lower().rstrip("/")
        return origin in self._allowed_origins or (
            urlsplit(origin).scheme in {"http", "https"}
            and urlsplit(origin).netloc == socket.headers.get("host", "").lower()
        )

    async def _redeem(self, socket: WebSocket) -> Bearer | None:
        offered: list[str] = socket.scope.get("subprotocols", [])
        tickets = [name.removeprefix(TICKET_PREFIX) for name in offered if name.startswith(TICKET_PREFIX)]
        if PROTOCOL not in offered or len(tickets) != 1 or socket.scope["query_string"]:
            return None
        try:
            return await self._tickets.redeem(PURPOSE, tickets[0])
        except VAssetError:
            return None


class _Conversation:
    def __init__(self, socket: WebSocket, watcher: Watcher, hub: ProgressHub, clock: Clock) -> None:
        self._socket = socket
        self._watcher = watcher
        self._hub = hub
        self._clock = clock
        self._ended = asyncio.get_running_loop().create_future()
        self._tokens, self._tokens_at = INBOUND_BURST, clock.monotonic()

    async def run(self, bearer: Bearer, sessions: SessionWatch) -> None:
        """Until the peer leaves, misbehaves or stalls, or its session or token ends."""
        forget = sessions.add(bearer.identity, lambda: self._end(SESSION_ENDED, "the session has ended"))
        expiry = self._end_at(bearer.expires_at)
        workers = [asyncio.create_task(self._write()), asyncio.create_task(self._read())]
        try:
            code, reason = await self._ended
        finally:
            forget()
            if expiry is not None:
                expiry.cancel()
            await end_tasks(workers)
        if code:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await self._socket.close(code, reason)

    def _end(self, code: int, reason: str) -> None:
        """``code`` 0: the connection is gone, there is nobody to tell."""
        if not self._ended.done():
            self._ended.set_result((code, reason))

    def _end_at(self, expires_at: float | None) -> asyncio.TimerHandle | None:
        if expires_at is None:
            return None
        left = max(0.0, expires_at - self._clock.now().timestamp())
        return asyncio.get_running_loop().call_later(
            min(left, 7 * 86_400), self._end, SESSION_ENDED, "the token has expired"
        )

    async def _write(self) -> None:
        try:
            while True:
                if self._watcher.wants_snapshot:  # by the writer alone, so that no older frame can follow it
                    self._watcher.wants_snapshot = False
                    await self._send_snapshot()
                frames, wait = self._watcher.due(self._clock.monotonic())
                for frame in frames:
                    await self._send(self._hub.encode(frame))
                if not frames and wait is None:
                    await self._watcher.wake.wait()
                elif not frames:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._watcher.wake.wait()
        except TimeoutError:
            self._abort()
        except (WebSocketDisconnect, RuntimeError, OSError):
            self._end(0, "gone")
        except VAssetError as error:
            self._end(4000 + code_of(error) // 100, error.message[:100])

    async def _send_snapshot(self) -> None:
        frames = await self._hub.snapshot(self._watcher)
        await self._send(
            orjson.dumps({"event": "snapshot", "tasks": [frame_shape(frame) for frame in frames]}).decode()
        )

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_text(text)

    def _abort(self) -> None:
        """Five seconds without taking a frame: drop the connection, its buffers with it."""
        abort = self._socket.scope.get("extensions", {}).get("vasset.abort")
        if abort is not None:
            abort["abort"]()
        self._end(0, "stalled")

    async def _read(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                if not self._may_speak():
                    self._end(FLOOD, "too many messages")
                    return
                self._obey(text)
        except (WebSocketDisconnect, RuntimeError):
            self._end(0, "gone")
        except KeyError:
            self._end(BAD_MESSAGE, "send text, not bytes")
        except InvalidInput as error:
            self._end(BAD_MESSAGE, error.message[:100])
        except VAssetError as error:
            self._end(4000 + code_of(error) // 100, error.message[:100])

    def _may_speak(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(INBOUND_BURST, self._tokens + (now - self._tokens_at) * INBOUND_PER_SECOND)
        self._tokens_at = now
        self._tokens -= 1.0
        return self._tokens >= 0

    def _obey(self, text: str) -> None:
        message = strict_json.parse(text.encode("utf-8", "surrogatepass"))
        if (
            not isinstance(message, dict)
            or message.get("event") != "subscribe"
            or set(message) != {"event", "task_ids"}
        ):
            raise InvalidInput('The only message known is {"event":"subscribe","task_ids":[…]}.')
        self._watcher.watch_only(_task_ids(message["task_ids"]))


def _task_ids(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_WATCHED:
        raise InvalidInput(f"task_ids must be a list of at most {MAX_WATCHED} task ids.")
    if not all(isinstance(task_id, str) and TASK_ID.match(task_id) for task_id in value):
        raise InvalidInput("task_ids holds something that is not a task id.")
    return value


async def _accept_and_close(socket: WebSocket, code: int, reason: str) -> None:
    await socket.accept(subprotocol=PROTOCOL if PROTOCOL in socket.scope.get("subprotocols", []) else None)
    await socket.close(code, reason)
