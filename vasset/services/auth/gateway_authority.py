"""The gateway's view of the authority: signatures are checked here, revocation is the auth service's word.

A forged or expired token costs the auth service nothing. A genuine one is asked about once per session and ``revocation_seconds``
(a hop costs about 0.8 ms of CPU). When the auth service does not answer within a second, sessions' rows are read instead until it does,
so that people who are signed in go on working as fast as before; signing in and out waits for the service.
"""

from __future__ import annotations

from collections import OrderedDict

import grpc

from vasset.domain.errors import DependencyDown, TokenRevoked
from vasset.domain.ports import Breaker, Clock
from vasset.domain.user import Identity
from vasset.services.auth.client import AuthClient
from vasset.services.auth.session_cache import SessionCache
from vasset.services.auth.tokens import TokenSigner
from vasset.usecases.absence import Absence

CAPACITY = 50_000
VERIFY_SECONDS = 1.0
"""The service itself reads one row; who waits longer reads it sooner here."""


class GatewayAuthority(AuthClient):
    """``Authority`` for gateways. A session ended elsewhere is believed for at most ``revocation_seconds`` more."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        token: str,
        signer: TokenSigner,
        sessions: SessionCache,
        clock: Clock,
        *,
        revocation_seconds: float,
        timeout_seconds: float = 5.0,
        breaker: Breaker | None = None,
    ) -> None:
        super().__init__(channel, token, timeout_seconds=timeout_seconds, breaker=breaker)
        self._signer = signer
        self._rows = sessions
        self._clock = clock
        self._revocation_seconds = revocation_seconds
        self._known: OrderedDict[int, tuple[float, Identity]] = OrderedDict()
        self._epoch = 0
        self._absence = Absence("auth", lambda: self.alive(()))

    async def close(self) -> None:
        await self._absence.close()

    async def verify(self, access_token: str) -> Identity:
        claims = self._signer.read(access_token)
        asked_at = self._clock.monotonic()
        known = self._known.get(claims.session_id)
        if known is not None and asked_at - known[0] < self._revocation_seconds and known[1].user_id == claims.user_id:
            return known[1]
        if self._absence.is_on:
            return await self._read_row(claims.user_id, claims.session_id)
        epoch = self._epoch
        try:
            identity = await self._verify_within(min(VERIFY_SECONDS, self._timeout_seconds), access_token)
        except DependencyDown as error:
            self._absence.begin(error)
            return await self._read_row(claims.user_id, claims.session_id)
        if epoch == self._epoch:  # else a session ended meanwhile: the answer may be from before
            self._known[claims.session_id] = (asked_at, identity)
            self._known.move_to_end(claims.session_id)
            if len(self._known) > CAPACITY:
                self._known.popitem(last=False)
        return identity

    async def logout(self, identity: Identity) -> None:
        await super().logout(identity)
        self._forget(identity.session_id)

    async def revoke_session(self, identity: Identity, session_id: int) -> None:
        await super().revoke_session(identity, session_id)
        self._forget(session_id)

    async def change_password(self, identity: Identity, current: str, new: str) -> None:
        await super().change_password(identity, current, new)
        for session_id in [key for key, (_, seen) in self._known.items() if seen.user_id == identity.user_id]:
            self._forget(session_id)

    async def _read_row(self, user_id: int, session_id: int) -> Identity:
        state = await self._rows.state(session_id)
        if state is None or not state.alive or state.user_id != user_id:
            raise TokenRevoked
        return Identity(state.user_id, state.role, session_id)

    def _forget(self, session_id: int) -> None:
        self._epoch += 1
        self._known.pop(session_id, None)
        self._rows.forget(session_id)
