"""Access tokens (JWT, HS256) and opaque tokens (refresh, invitation).

A refresh token's child is ``HMAC(parent, nonce)`` with a random nonce kept in the row of the spent parent: whoever repeats the
parent can be given the very same child, although no token is stored, and neither the database nor a parent alone gives it away.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

import jwt

from vasset.domain.errors import TokenExpired, Unauthenticated
from vasset.domain.ports import Clock

ALGORITHM = "HS256"
ISSUER = AUDIENCE = "vasset"
LEEWAY_SECONDS = 10
MIN_SECRET_BYTES = 32
REMEMBERED_TOKENS = 4_096
REFRESH_PREFIX, INVITATION_PREFIX = "vrt_", "vin_"

_JWT = re.compile(r"[A-Za-z0-9_-]{2,512}\.[A-Za-z0-9_-]{2,2048}\.[A-Za-z0-9_-]{43}\Z")
_OPAQUE = re.compile(r"v(?:rt|in)_[A-Za-z0-9_-]{43}\Z")
_REQUIRED = ["exp", "iat", "sub", "jti", "aud", "iss", "typ", "sid"]


@dataclass(frozen=True, slots=True)
class AccessClaims:
    user_id: int
    session_id: int


class TokenSigner:
    """Signs and reads access tokens. The signature proves who; whether the session still lives is for ``verify`` to ask."""

    def __init__(self, secret: bytes, *, clock: Clock) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the signing key has {len(secret)} bytes; it needs at least {MIN_SECRET_BYTES}")
        self._secret = secret
        self._clock = clock
        self._verified: dict[str, dict[str, Any]] = {}

    def sign(self, user_id: int, session_id: int, *, ttl_seconds: int) -> str:
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": ISSUER, "aud": AUDIENCE, "typ": "access", "sub": str(user_id), "sid": session_id,
            "iat": now, "exp": now + ttl_seconds, "jti": secrets.token_hex(8),
        }  # fmt: skip
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def read(self, token: str) -> AccessClaims:
        """Raises ``TokenExpired`` or ``Unauthenticated``; says nothing about why, but for expiry."""
        if not _JWT.match(token):
            raise Unauthenticated("the access token is not one of ours; sign in again")
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            if len(self._verified) >= REMEMBERED_TOKENS:
                self._verified.clear()
            self._verified[token] = claims  # the signature stays what it is; times are looked at again at every call
        self._check_times(claims)
        return _claims(claims)

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise Unauthenticated("the access token is not valid; sign in again") from error
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        """By our clock, so that expiry can be tested and follows the same time as everything else."""
        now = self._clock.now().timestamp()
        times = [claims["iat"], claims["exp"], claims.get("nbf", 0)]
        if not all(isinstance(time, int) and not isinstance(time, bool) for time in times):
            raise Unauthenticated("the access token is not valid; sign in again")
        issued, expires, not_before = times
        if max(issued, not_before) > now + LEEWAY_SECONDS:
            raise Unauthenticated("the access token is from the future; check the clocks of the servers")
        if expires <= now - LEEWAY_SECONDS:
            raise TokenExpired()


def _claims(claims: dict[str, Any]) -> AccessClaims:
    subject, session_id = claims["sub"], claims["sid"]
    proper = isinstance(subject, str) and subject.isascii() and subject.isdigit() and type(session_id) is int
    if claims["typ"] != "access" or not proper:
        raise Unauthenticated("this is not an access token; sign in again")
    if len(subject) > 19 or not (int(subject) < 2**63 and 0 < session_id < 2**63):
        raise Unauthenticated("the access token names what no database can hold; sign in again")
    return AccessClaims(int(subject), session_id)


def new_token(prefix: str) -> str:
    """256 random bits."""
    return prefix + _encode(secrets.token_bytes(32))


def new_nonce() -> bytes:
    return secrets.token_bytes(32)


def child_of(token: str, nonce: bytes) -> str:
    return REFRESH_PREFIX + _encode(hmac.digest(token.encode(), nonce, hashlib.sha256))


def hash_of(token: str) -> bytes:
    """What is stored. Raises ``Unauthenticated`` for anything that cannot be a token of ours."""
    if not _OPAQUE.match(token):
        raise Unauthenticated("the token is not one of ours; sign in again")
    return hashlib.sha256(token.encode()).digest()


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
