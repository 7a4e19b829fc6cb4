"""``auth:token:{hash}`` (REQUIREMENTS D2): what every living access token stands for, to be read by operators and their tools.

A mirror: nothing here decides by it. Whether a token counts is asked of SQL, at most ``revocation_seconds`` ago, so an entry that was
lost costs nothing and one that outlived its session opens nothing. ``{hash}`` is the token's SHA-256: the token itself is nowhere.
"""

from __future__ import annotations

import contextlib
import hashlib

import orjson

from vasset.domain.errors import Unavailable
from vasset.domain.ports import Cache


class TokenMirror:
    """One entry a token, and one a session (``auth:session:{id}``) that leads to it, for a session ends without its token."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def show(self, token: str, *, user_id: int, session_id: int, ttl_seconds: int) -> None:
        """A session has one token at a time: the one before goes."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        await self.forget(session_id)
        entry = orjson.dumps({"user_id": user_id, "session_id": session_id})
        with contextlib.suppress(Unavailable):
            await self._cache.set(f"auth:token:{digest}", entry, ttl_seconds=ttl_seconds)
            await self._cache.set(f"auth:session:{session_id}", digest.encode(), ttl_seconds=ttl_seconds)

    async def forget(self, session_id: int) -> None:
        with contextlib.suppress(Unavailable):
            digest = await self._cache.take(f"auth:session:{session_id}")
            if digest is not None:
                await self._cache.delete(f"auth:token:{digest.decode()}")
