"""What happens to every API request before its handler: shed, authenticate, count, parse strictly, all within a deadline."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.routing import APIRoute

from vasset.domain.errors import InvalidInput, Overloaded
from vasset.gateway import strict_json
from vasset.gateway.access import Access, access_of, authenticate
from vasset.gateway.deps import Gateway, client_address_of, gateway_of, limit_rate
from vasset.gateway.errors import NotJson, TimedOut
from vasset.gateway.schemas import FailureBody

HTTP_SECONDS = 30.0
DEADLINE = "__vasset_deadline__"
UNCOUNTED = "__vasset_uncounted__"
RETIRED = "__vasset_retired__"
REPEATABLE = frozenset({"status"})
Endpoint = TypeVar("Endpoint", bound=Callable[..., Coroutine[Any, Any, Response]])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def patient(endpoint: Endpoint) -> Endpoint:
    """Let the route take as long as an extraction may take, not the usual 30 s."""
    setattr(endpoint, DEADLINE, True)
    return endpoint


def uncounted(endpoint: Endpoint) -> Endpoint:
    """Exempt a probe from rate limits and load shedding: it must answer exactly when everything else does not."""
    setattr(endpoint, UNCOUNTED, True)
    return endpoint


def retired(*, on: date, successor: str) -> Callable[[Endpoint], Endpoint]:
    """Announce when a deprecated route will be gone, at least six months after it was deprecated (PRD 5.4), and what to use instead."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, RETIRED, (on, successor))
        return endpoint

    return mark


class ApiRoute(APIRoute):
    """The only route class of the API; ``app.py`` refuses to start with another."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            raise TypeError(f"{endpoint.__name__} must be async: a plain function costs a thread hop")
        self.access = access_of(endpoint)
        self.patient = hasattr(endpoint, DEADLINE)
        self.uncounted = hasattr(endpoint, UNCOUNTED)
        self.retired: tuple[date, str] | None = getattr(endpoint, RETIRED, None)
        extra = dict(options.pop("openapi_extra", None) or {})
        if self.access is not Access.PUBLIC:
            extra.setdefault("security", [{"bearer": []}])
        options["openapi_extra"] = extra
        statuses = {400, 429, 500, 503, 504} | (set() if self.access is Access.PUBLIC else {401})
        if set(options.get("methods") or ()) & {"POST", "PUT"}:
            statuses |= {408, 413}
        options["responses"] = {
            **{status: {"model": FailureBody} for status in sorted(statuses)},
            **(options.get("responses") or {}),
        }
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        has_body = self.body_field is not None
        takes_query = bool(self.dependant.query_params)

        async def guarded(request: Request) -> Response:
            gateway = gateway_of(request)
            if self.uncounted:
                return await handle(request)
            load = gateway.load
            if load.running >= load.limit:
                raise Overloaded(retry_after_seconds=1.0)
            load.running += 1
            try:
                async with asyncio.timeout(self._seconds(gateway)):
                    await self._admit(request, gateway)
                    if request.scope["query_string"]:
                        _refuse_wrong_parameters(request, takes_query)
                    return await handle(await _strict(request) if has_body else request)
            except TimeoutError:
                raise TimedOut() from None
            finally:
                load.running -= 1

        return self._announcing(guarded) if self.deprecated else guarded

    def _seconds(self, gateway: Gateway) -> float:
        return gateway.settings.extraction_timeout_seconds + HTTP_SECONDS if self.patient else HTTP_SECONDS

    async def _admit(self, request: Request, gateway: Gateway) -> None:
        limit = gateway.settings.requests_per_minute
        if self.access is Access.SIGNED_IN:
            try:
                identity = await authenticate(request, gateway.services.authority)
            except Exception:
                await limit_rate(request, "requests", client_address_of(request), limit)
                raise
            await limit_rate(request, "requests", f"user-{identity.user_id}", limit)
        else:
            await limit_rate(request, "requests", client_address_of(request), limit)

    def _announcing(self, handle: Handler) -> Handler:
        """``X-API-Deprecated`` (PRD 5.4), ``Sunset`` (RFC 8594) and the address that takes over (RFC 5829)."""

        def headers(request: Request) -> Iterator[tuple[bytes, bytes]]:
            yield b"x-api-deprecated", b"true"
            if self.retired is not None:
                day, successor = self.retired
                yield b"sunset", format_datetime(datetime.combine(day, time(), UTC), usegmt=True).encode()
                named = {name: quote(str(value), safe="") for name, value in request.path_params.items()}
                yield b"link", f'<{successor.format(**named)}>; rel="successor-version"'.encode()

        async def announced(request: Request) -> Response:
            state = request.scope["state"]
            try:
                return await handle(request)
            finally:  # B3: errors of a deprecated route say so as well
                state["answer_headers"] = [*state.get("answer_headers", ()), *headers(request)]

        return announced


def _refuse_wrong_parameters(request: Request, takes_query: bool) -> None:
    """A token in a URL is refused, not ignored. Of two values one would win silently, and a server in front may have read the other."""
    if not takes_query:
        raise InvalidInput("This address takes no parameters; leave out the question mark and what follows it.")
    names = [name for name, _ in request.query_params.multi_items() if name not in REPEATABLE]
    if len(names) != len(set(names)):
        raise InvalidInput("A parameter is given twice; give it once.")


async def _strict(request: Request) -> Request:
    """The same request with its body parsed by our rules; FastAPI finds the result where it would cache its own."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise NotJson()
    request._json = strict_json.parse(await request.body())
    return request
