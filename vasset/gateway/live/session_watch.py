"""Ends the sockets of sessions that were revoked: at most ``revocation_seconds`` after logout or password change (P20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vasset.domain.errors import VAssetError
from vasset.domain.ports import MAX_ASKED, Authority
from vasset.domain.user import Identity
from vasset.usecases.end_tasks import end_tasks


class SessionWatch:
    """Asks the authority about hundreds of sessions at once, however many sockets each has. Runs only while sockets exist."""

    def __init__(self, authority: Authority, *, interval_seconds: float) -> None:
        self._authority = authority
        self._interval_seconds = interval_seconds
        self._open: dict[int, list[Callable[[], None]]] = {}
        self._running: asyncio.Task[None] | None = None

    def add(self, identity: Identity, end: Callable[[], None]) -> Callable[[], None]:
        """Call ``end`` when the session is no more; the answer takes the socket off the list again."""
        session_id = identity.session_id
        self._open.setdefault(session_id, []).append(end)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._rounds())

        def remove() -> None:
            ends = self._open.get(session_id, [])
            if end in ends:
                ends.remove(end)
            if not ends:
                self._open.pop(session_id, None)

        return remove

    async def close(self) -> None:
        if self._running is not None:
            await end_tasks([self._running])
            self._running = None

    async def _rounds(self) -> None:
        while self._open:
            await asyncio.sleep(self._interval_seconds)
            sessions = list(self._open)
            for start in range(0, len(sessions), MAX_ASKED):
                await self._end_revoked(sessions[start : start + MAX_ASKED])
        self._running = None

    async def _end_revoked(self, sessions: list[int]) -> None:
        try:
            alive = await self._authority.alive(sessions)
        except VAssetError:
            return  # a socket only reads; it stays until the authority can be asked again
        for session_id in sessions:
            if session_id not in alive:
                for end in list(self._open.get(session_id, ())):
                    end()
