"""``/api/v1/auth``: register, sign in and out, sessions, invitations, roles."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from vasset.domain.errors import NotFound
from vasset.domain.user import Identity, Role
from vasset.gateway import schemas
from vasset.gateway.access import public
from vasset.gateway.answers import success
from vasset.gateway.deps import client_address_of, gateway_of, identity_of, user_agent_of
from vasset.gateway.route import ApiRoute
from vasset.gateway.shapes import session_shape, token_shape, user_shape

router = APIRouter(prefix="/api/v1/auth", route_class=ApiRoute, tags=["account"])
Caller = Annotated[Identity, Depends(identity_of)]
CONFLICT: dict[int | str, dict[str, Any]] = {status: {"model": schemas.FailureBody} for status in (403, 409, 415, 422)}
SIGNING_IN: dict[int | str, dict[str, Any]] = {status: {"model": schemas.FailureBody} for status in (401, 415, 422)}


@router.post("/register", response_model=schemas.Envelope[schemas.SignedInData], responses=CONFLICT)
@public
async def register(request: Request, body: schemas.RegisterBody) -> Response:
    """Make an account and sign it in. The first account of an installation is its administrator."""
    user, tokens = await gateway_of(request).services.authority.register(
        body.email, body.password, body.nickname, invitation=body.invitation, user_agent=user_agent_of(request)
    )
    return success({**token_shape(tokens), "user": user_shape(user)})


@router.post("/login", response_model=schemas.Envelope[schemas.SignedInData], responses=SIGNING_IN)
@public
async def login(request: Request, body: schemas.LoginBody) -> Response:
    """Sign in. An unknown email and a wrong password answer alike."""
    user, tokens = await gateway_of(request).services.authority.login(
        body.email, body.password, address=client_address_of(request), user_agent=user_agent_of(request)
    )
    return success({**token_shape(tokens), "user": user_shape(user)})


@router.post("/refresh", response_model=schemas.Envelope[schemas.TokenData], responses=SIGNING_IN)
@public
async def refresh(request: Request, body: schemas.RefreshBody) -> Response:
    """Exchange a refresh token for a new pair. Each is good once; an old one used again ends the session."""
    return success(token_shape(await gateway_of(request).services.authority.refresh(body.refresh_token)))


@router.post("/logout", response_model=schemas.Envelope[schemas.Empty])
async def logout(request: Request, identity: Caller) -> Response:
    """End this session: its access and refresh tokens stop working within five seconds everywhere."""
    await gateway_of(request).services.authority.logout(identity)
    return success({})


@router.get("/me", response_model=schemas.Envelope[schemas.UserData])
async def profile(request: Request, identity: Caller) -> Response:
    """Who is signed in."""
    return success(user_shape(await gateway_of(request).services.authority.profile(identity)))


@router.post("/password", response_model=schemas.Envelope[schemas.Empty], responses=CONFLICT)
async def change_password(request: Request, body: schemas.PasswordBody, identity: Caller) -> Response:
    """Change the password and end every other session."""
    await gateway_of(request).services.authority.change_password(identity, body.current_password, body.new_password)
    return success({})


@router.get("/sessions", response_model=schemas.Envelope[list[schemas.SessionData]])
async def sessions(request: Request, identity: Caller) -> Response:
    """Where this account is signed in."""
    found = await gateway_of(request).services.authority.sessions(identity)
    return success([session_shape(session) for session in found])


@router.delete(
    "/sessions/{session_id}",
    response_model=schemas.Envelope[schemas.Empty],
    responses={404: {"model": schemas.FailureBody}},
)
async def revoke_session(request: Request, session_id: str, identity: Caller) -> Response:
    """End one session of this account."""
    await gateway_of(request).services.authority.revoke_session(identity, row_id(session_id))
    return success({})


@router.post("/invitations", response_model=schemas.Envelope[schemas.InvitationData], responses=CONFLICT)
async def invite(request: Request, identity: Caller) -> Response:
    """Make an invitation for one new account; administrators only."""
    return success({"invitation": await gateway_of(request).services.authority.invite(identity)})


@router.put(
    "/users/{user_id}/role",
    response_model=schemas.Envelope[schemas.UserData],
    responses={**CONFLICT, 404: {"model": schemas.FailureBody}},
)
async def set_role(request: Request, user_id: str, body: schemas.RoleBody, identity: Caller) -> Response:
    """Change an account's level, which decides its daily quota; administrators only."""
    role = Role[body.role.upper()]
    return success(user_shape(await gateway_of(request).services.authority.set_role(identity, row_id(user_id), role)))


def row_id(text: str) -> int:
    """An id in a path. What cannot be one names nothing: 404, as for an unknown one."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and 0 < int(text) <= schemas.MAX_ROW_ID:
        return int(text)
    raise NotFound()
