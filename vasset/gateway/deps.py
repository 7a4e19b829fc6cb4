"""What every route reaches through its request: the services, the settings, and who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import Request

from vasset.domain.errors import InvalidInput
from vasset.domain.user import Identity
from vasset.gateway.access import authenticate
from vasset.gateway.live.hub import ProgressHub
from vasset.gateway.rate_limits import RateLimiter, refuse_if_spent
from vasset.gateway.services import GatewayServices
from vasset.gateway.settings import GatewaySettings
from vasset.gateway.tickets import Tickets
from vasset.usecases.quota_mirror import QuotaMirror
from vasset.usecases.submit_download import SubmitDownload
from vasset.usecases.watch_progress import WatchProgress

MAX_KEY_CHARACTERS = 255


@dataclass(slots=True)
class Load:
    """Requests being answered right now, against the number above which more are refused (P24)."""

    limit: int
    running: int = 0


@dataclass(frozen=True, slots=True)
class Gateway:
    """One per application; lives in ``app.state.gateway``."""

    services: GatewayServices
    settings: GatewaySettings
    limiter: RateLimiter
    tickets: Tickets
    submit: SubmitDownload
    progress: WatchProgress
    hub: ProgressHub
    quota_mirror: QuotaMirror
    load: Load = field(default_factory=lambda: Load(256))


def gateway_of(request: Request) -> Gateway:
    found: Gateway = request.scope["app"].state.gateway
    return found


async def identity_of(request: Request) -> Identity:
    """The signed-in user. On an unmarked route the route class has found it already."""
    return await authenticate(request, gateway_of(request).services.authority)


async def limit_rate(request: Request, what: str, who: str, limit: int) -> None:
    """Count the request and put ``RateLimit-*`` on its answer, refused or not."""
    allowance = await gateway_of(request).limiter.hit(what, who, limit)
    told = allowance if allowance.remaining >= 0 else type(allowance)(limit, 0, allowance.reset_seconds)
    request.scope["state"]["answer_headers"] = told.headers
    refuse_if_spent(allowance, what)


def client_address_of(request: Request) -> str:
    found: str = request.scope["state"]["client_address"]
    return found


def user_agent_of(request: Request) -> str | None:
    value = request.headers.get("user-agent")
    return value[:200] if value else None


def idempotency_key_of(request: Request) -> str | None:
    """The key of this request. Raises ``InvalidInput`` when it is doubled, empty, longer than 255 or not printable ASCII."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        raise InvalidInput("The Idempotency-Key header must be one value of 1 to 255 printable ASCII characters.")
    return key
