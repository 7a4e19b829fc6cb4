"""The authority behind gRPC; the same signature as the local object."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import grpc

from vasset.domain.ports import Breaker
from vasset.domain.user import Identity, Role, SessionInfo, TokenPair, User
from vasset.services.auth import convert
from vasset.services.client import Remote
from vasset.services.convert import optional_wire_text, wire_integer, wire_text
from vasset.services.proto import auth_pb2 as wire
from vasset.services.proto.auth_pb2_grpc import AuthServiceStub

if TYPE_CHECKING:  # the stub file alone knows it
    from vasset.services.proto.auth_pb2_grpc import AuthServiceAsyncStub

SERVICE = "vasset.v1.AuthService"
IDEMPOTENT = [
    (SERVICE, method)
    for method in ("VerifyToken", "GetProfile", "ListSessions", "CheckSessions", "Logout", "RevokeSession")
]


class AuthClient(Remote):
    """``Authority`` over gRPC. Registering and signing in hash a password: they get twice the usual deadline."""

    service = "auth"

    def __init__(
        self, channel: grpc.aio.Channel, token: str, *, timeout_seconds: float = 5.0, breaker: Breaker | None = None
    ) -> None:
        super().__init__(token, timeout_seconds=timeout_seconds, breaker=breaker)
        self._stub: AuthServiceAsyncStub = AuthServiceStub(channel)

    async def register(
        self, email: str, password: str, nickname: str, *, invitation: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]:
        request = wire.RegisterRequest(
            email=wire_text(email),
            password=wire_text(password),
            nickname=wire_text(nickname),
            invitation=optional_wire_text(invitation),
            user_agent=optional_wire_text(user_agent),
        )
        return self._signed_in(
            await self._call(self._stub.Register, request, timeout_seconds=self._timeout_seconds * 2)
        )

    async def login(
        self, email: str, password: str, *, address: str | None = None, user_agent: str | None = None
    ) -> tuple[User, TokenPair]:
        request = wire.ValidateCredentialsRequest(
            email=wire_text(email),
            password=wire_text(password),
            address=optional_wire_text(address),
            user_agent=optional_wire_text(user_agent),
        )
        return self._signed_in(
            await self._call(self._stub.ValidateCredentials, request, timeout_seconds=self._timeout_seconds * 2)
        )

    async def refresh(self, refresh_token: str) -> TokenPair:
        answer = await self._call(self._stub.Refresh, wire.RefreshRequest(refresh_token=wire_text(refresh_token)))
        return convert.tokens_from_wire(answer)

    async def logout(self, identity: Identity) -> None:
        await self._call(self._stub.Logout, wire.LogoutRequest(), identity)

    async def verify(self, access_token: str) -> Identity:
        return await self._verify_within(self._timeout_seconds, access_token)

    async def _verify_within(self, seconds: float, access_token: str) -> Identity:
        request = wire.VerifyTokenRequest(access_token=wire_text(access_token))
        return convert.identity_from_wire(await self._call(self._stub.VerifyToken, request, timeout_seconds=seconds))

    async def profile(self, identity: Identity) -> User:
        return convert.user_from_wire(await self._call(self._stub.GetProfile, wire.GetProfileRequest(), identity))

    async def change_password(self, identity: Identity, current: str, new: str) -> None:
        request = wire.ChangePasswordRequest(current=wire_text(current), new=wire_text(new))
        await self._call(self._stub.ChangePassword, request, identity, timeout_seconds=self._timeout_seconds * 2)

    async def sessions(self, identity: Identity) -> Sequence[SessionInfo]:
        answer = await self._call(self._stub.ListSessions, wire.ListSessionsRequest(), identity)
        return [convert.session_from_wire(session) for session in answer.sessions]

    async def alive(self, session_ids: Collection[int]) -> frozenset[int]:
        request = wire.CheckSessionsRequest(session_ids=map(wire_integer, session_ids))
        return frozenset((await self._call(self._stub.CheckSessions, request)).alive)

    async def revoke_session(self, identity: Identity, session_id: int) -> None:
        await self._call(
            self._stub.RevokeSession, wire.RevokeSessionRequest(session_id=wire_integer(session_id)), identity
        )

    async def set_role(self, identity: Identity, user_id: int, role: Role) -> User:
        request = wire.SetRoleRequest(user_id=wire_integer(user_id), role=int(role))
        return convert.user_from_wire(await self._call(self._stub.SetRole, request, identity))

    async def invite(self, identity: Identity) -> str:
        answer = await self._call(self._stub.CreateInvitation, wire.CreateInvitationRequest(), identity)
        return answer.invitation

    @staticmethod
    def _signed_in(answer: wire.SignedIn) -> tuple[User, TokenPair]:
        return convert.user_from_wire(answer.user), convert.tokens_from_wire(answer.tokens)
