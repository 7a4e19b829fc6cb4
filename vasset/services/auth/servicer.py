"""``AuthService`` over gRPC: unpacks, calls the authority, packs."""

from __future__ import annotations

from typing import Any

from vasset.domain.errors import InvalidInput
from vasset.domain.ports import Authority
from vasset.domain.user import Role
from vasset.services.auth import convert
from vasset.services.context import identity_of
from vasset.services.convert import optional
from vasset.services.proto import auth_pb2 as wire
from vasset.services.proto.auth_pb2_grpc import AuthServiceServicer


class AuthServicer(AuthServiceServicer):
    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def Register(self, request: wire.RegisterRequest, context: Any) -> wire.SignedIn:
        user, tokens = await self._authority.register(
            request.email,
            request.password,
            request.nickname,
            invitation=optional(request, "invitation"),
            user_agent=optional(request, "user_agent"),
        )
        return wire.SignedIn(user=convert.user_to_wire(user), tokens=convert.tokens_to_wire(tokens))

    async def ValidateCredentials(
        self, request: wire.ValidateCredentialsRequest | wire.LoginRequest, context: Any
    ) -> wire.SignedIn:
        user, tokens = await self._authority.login(
            request.email,
            request.password,
            address=optional(request, "address"),
            user_agent=optional(request, "user_agent"),
        )
        return wire.SignedIn(user=convert.user_to_wire(user), tokens=convert.tokens_to_wire(tokens))

    async def Login(self, request: wire.LoginRequest, context: Any) -> wire.SignedIn:
        return await self.ValidateCredentials(request, context)

    async def Refresh(self, request: wire.RefreshRequest, context: Any) -> wire.Tokens:
        return convert.tokens_to_wire(await self._authority.refresh(request.refresh_token))

    async def VerifyToken(self, request: wire.VerifyTokenRequest, context: Any) -> wire.VerifiedIdentity:
        return convert.identity_to_wire(await self._authority.verify(request.access_token))

    async def Logout(self, request: wire.LogoutRequest, context: Any) -> wire.LogoutResponse:
        await self._authority.logout(identity_of(context))
        return wire.LogoutResponse()

    async def GetProfile(self, request: wire.GetProfileRequest, context: Any) -> wire.UserMessage:
        return convert.user_to_wire(await self._authority.profile(identity_of(context)))

    async def ChangePassword(self, request: wire.ChangePasswordRequest, context: Any) -> wire.ChangePasswordResponse:
        await self._authority.change_password(identity_of(context), request.current, request.new)
        return wire.ChangePasswordResponse()

    async def ListSessions(self, request: wire.ListSessionsRequest, context: Any) -> wire.ListSessionsResponse:
        sessions = await self._authority.sessions(identity_of(context))
        return wire.ListSessionsResponse(sessions=[convert.session_to_wire(session) for session in sessions])

    async def CheckSessions(self, request: wire.CheckSessionsRequest, context: Any) -> wire.CheckSessionsResponse:
        return wire.CheckSessionsResponse(alive=await self._authority.alive(request.session_ids))

    async def RevokeSession(self, request: wire.RevokeSessionRequest, context: Any) -> wire.RevokeSessionResponse:
        await self._authority.revoke_session(identity_of(context), request.session_id)
        return wire.RevokeSessionResponse()

    async def SetRole(self, request: wire.SetRoleRequest, context: Any) -> wire.UserMessage:
        try:
            role = Role(request.role)
        except ValueError:
            raise InvalidInput(f"There is no role {request.role}; roles are {[int(role) for role in Role]}.") from None
        return convert.user_to_wire(await self._authority.set_role(identity_of(context), request.user_id, role))

    async def CreateInvitation(
        self, request: wire.CreateInvitationRequest, context: Any
    ) -> wire.CreateInvitationResponse:
        return wire.CreateInvitationResponse(invitation=await self._authority.invite(identity_of(context)))
