"""Ends the sockets of sessions that were revoked: at most ``revocation_seconds`` after logout or password change (P20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vasset.domain.errors import NotFound, Unauthenticated, Unavailable, VAssetError
from vasset.domain.ports import Authority
from vasset.domain.user import Identity
from vasset.usecases.end_tasks import end_tasks


class SessionWatch:
    """Asks the authority once per user and round, however many sockets the user has. Runs only while sockets exist."""

    def __init__(self, authority: Authority, *, interval_seconds: float) -> None:
        self._authority = authority
        self._interval_seconds = interval_seconds
        self._open: dict[int, list[tuple[Identity, Callable[[], None]]]] = {}
        self._running: asyncio.Task[None] | None = None

    def add(self, identity: Identity, end: Callable[[], None]) -> Callable[[], None]:
        """Call ``end`` when the session is no more; the answer takes the socket off the list again."""
        entry = (identity, end)
        self._open.setdefault(identity.user_id, []).append(entry)
        if self._running is None:
            self._running = asyncio.create_task(self._rounds())

        def remove() -> None:
            entries = self._open.get(identity.user_id, [])
            if entry in entries:
                entries.remove(entry)
            if not entries:
                self._open.pop(identity.user_id, None)

        return remove

    async def close(self) -> None:
        if self._running is not None:
            await end_tasks([self._running])
            self._running = None

    async def _rounds(self) -> None:
        while self._open:
            users = list(self._open.values())
            for entries in users:
                # Spread over the round: a thousand answers in a row would hold up every frame.
                await asyncio.sleep(self._interval_seconds / len(users))
                for _, end in await self._revoked(list(entries)):
                    end()
        self._running = None

    async def _revoked(
        self, entries: list[tuple[Identity, Callable[[], None]]]
    ) -> list[tuple[Identity, Callable[[], None]]]:
        if not entries:
            return []
        try:
            alive = {session.id for session in await self._authority.sessions(entries[0][0])}
        except (Unauthenticated, NotFound):
            alive = set()
        except (Unavailable, VAssetError):
            return []  # a socket only reads; it stays until the authority can be asked again
        return [entry for entry in entries if entry[0].session_id not in alive]
