"""Assembles the gateway: the same application serves the embedded and the distributed deployment."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI, WebSocket
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, WebSocketRoute

from vasset import __version__
from vasset.gateway import errors, metrics
from vasset.gateway.client_address import ClientAddress
from vasset.gateway.deps import Gateway
from vasset.gateway.live.hub import ProgressHub
from vasset.gateway.live.session_watch import SessionWatch
from vasset.gateway.live.socket import ProgressSocket
from vasset.gateway.middleware.allowed_host import AllowedHost
from vasset.gateway.middleware.body_limit import BodyLimit
from vasset.gateway.middleware.request_log import RequestLog
from vasset.gateway.middleware.security_headers import SecurityHeaders
from vasset.gateway.rate_limits import RateLimiter
from vasset.gateway.route import ApiRoute
from vasset.gateway.routes import accounts, downloads, files, health, history, live, parse, second
from vasset.gateway.routes.documentation import documentation_router
from vasset.gateway.routes.page import load_assets, page_router
from vasset.gateway.schemas import MAX_ROW_ID
from vasset.gateway.services import GatewayServices
from vasset.gateway.settings import GatewaySettings
from vasset.gateway.tickets import Tickets
from vasset.usecases.quota_mirror import QuotaMirror
from vasset.usecases.submit_download import SubmitDownload
from vasset.usecases.watch_progress import WatchProgress

STATIC = Path(__file__).parent / "static"
DESCRIPTION = (
    "Video URL in, your own file out. Success answers {code: 0, message, data}; failure answers {code, message, reason, "
    "retryable, request_id} with code = HTTP status × 100 + n."
)


def create_app(services: GatewayServices, settings: GatewaySettings) -> FastAPI:
    """The ASGI application. It opens nothing itself: services are ready to use and are closed by whoever made them."""
    progress = WatchProgress(services.bus)
    hub = ProgressHub(services.tasks, services.bus, progress, services.clock)
    sessions = SessionWatch(services.authority, interval_seconds=max(0.25, settings.revocation_seconds / 2))
    tickets = Tickets(services.cache)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await hub.close()
        await sessions.close()

    app = FastAPI(
        title="V-Asset",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.gateway = Gateway(
        services=services,
        settings=settings,
        limiter=RateLimiter(services.cache, services.clock),
        tickets=tickets,
        submit=SubmitDownload(services.tasks, services.canonicalise),
        progress=progress,
        hub=hub,
        quota_mirror=QuotaMirror(services.cache, services.clock, lambda identity: services.library.quota(identity)),
    )
    errors.install(app)
    for router in (
        downloads.router,  # routes are tried in this order: first what is asked most
        second.router,
        history.router,
        files.router,
        parse.router,
        live.router,
        accounts.router,
        health.router,
        documentation_router(app),
        page_router(load_assets(STATIC)),
    ):
        app.router.routes.extend(router.routes)
    _add_socket(app, ProgressSocket(hub, tickets, sessions, services.clock, settings.allowed_origins))
    _refuse_foreign_routes(app.router.routes)
    _declare_bearer(app)
    _add_middleware(app, settings)
    return app


def _add_socket(app: FastAPI, progress_socket: ProgressSocket) -> None:
    async def progress(socket: WebSocket) -> None:
        with metrics.SOCKETS.track_inprogress():
            await progress_socket.serve(socket)

    app.router.routes.append(WebSocketRoute("/api/v1/ws", progress))


def _refuse_foreign_routes(routes: list[BaseRoute]) -> None:
    """Deny by default holds only while every HTTP route is of the class that denies."""
    for route in routes:
        if not isinstance(route, ApiRoute | WebSocketRoute):
            raise TypeError(f"{route!r} is not an ApiRoute: it would be open to everybody")


def _declare_bearer(app: FastAPI) -> None:
    generate = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        contract: dict[str, Any] = _with_whole_numbers(generate())
        contract.setdefault("components", {})["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }
        return contract

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI documents for changing its contract


def _with_whole_numbers(part: Any) -> Any:
    """FastAPI's own model of a schema makes floats of every bound: ``100.0`` for a whole number, and 2⁶³ for the largest row id."""
    if isinstance(part, dict):
        return {name: _with_whole_numbers(value) for name, value in part.items()}
    if isinstance(part, list):
        return [_with_whole_numbers(value) for value in part]
    return min(int(part), MAX_ROW_ID) if isinstance(part, float) and part.is_integer() else part


def _add_middleware(app: FastAPI, settings: GatewaySettings) -> None:
    """Innermost first. CORS exists only when the operator named foreign origins."""
    app.add_middleware(BodyLimit)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Range", "If-Range", "X-Request-ID"],
            expose_headers=["Location", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "X-Request-ID"],
            max_age=600,
        )
    app.add_middleware(AllowedHost, allowed=settings.allowed_hosts)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(
        RequestLog, client_address=ClientAddress(settings.trusted_proxies), observe=metrics.observe_request
    )
