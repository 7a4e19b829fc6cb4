"""Accounts between domain and wire."""

from __future__ import annotations

from vasset.domain.user import Identity, Role, SessionInfo, TokenPair, User
from vasset.services.convert import moment, optional, seconds
from vasset.services.proto import auth_pb2 as wire


def user_to_wire(user: User) -> wire.UserMessage:
    return wire.UserMessage(
        id=user.id, email=user.email, nickname=user.nickname, role=int(user.role), created_at=seconds(user.created_at)
    )


def user_from_wire(message: wire.UserMessage) -> User:
    return User(
        id=message.id,
        email=message.email,
        nickname=message.nickname,
        role=Role(message.role),
        created_at=moment(message.created_at),
    )


def tokens_to_wire(tokens: TokenPair) -> wire.Tokens:
    return wire.Tokens(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        expires_in=tokens.expires_in,
        refresh_expires_in=tokens.refresh_expires_in,
    )


def tokens_from_wire(message: wire.Tokens) -> TokenPair:
    return TokenPair(
        access_token=message.access_token,
        refresh_token=message.refresh_token,
        expires_in=message.expires_in,
        refresh_expires_in=message.refresh_expires_in,
    )


def identity_to_wire(identity: Identity) -> wire.VerifiedIdentity:
    return wire.VerifiedIdentity(user_id=identity.user_id, role=int(identity.role), session_id=identity.session_id)


def identity_from_wire(message: wire.VerifiedIdentity) -> Identity:
    return Identity(user_id=message.user_id, role=Role(message.role), session_id=message.session_id)


def session_to_wire(session: SessionInfo) -> wire.SessionMessage:
    return wire.SessionMessage(
        id=session.id,
        created_at=seconds(session.created_at),
        expires_at=seconds(session.expires_at),
        user_agent=session.user_agent,
        current=session.current,
    )


def session_from_wire(message: wire.SessionMessage) -> SessionInfo:
    return SessionInfo(
        id=message.id,
        created_at=moment(message.created_at),
        expires_at=moment(message.expires_at),
        user_agent=optional(message, "user_agent"),
        current=message.current,
    )
