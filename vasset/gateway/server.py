"""How uvicorn runs the gateway: inside our own event loop, quiet, without trusting anybody's proxy headers."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from vasset.gateway.client_address import parse_networks
from vasset.gateway.door import Door
from vasset.gateway.protocols import HttpProtocol, WebSocketProtocol
from vasset.gateway.settings import GatewaySettings

MAX_INBOUND_MESSAGE_BYTES = 4096
PING_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 30


class ServerConfig(uvicorn.Config):
    """With the door that every connection of this server goes through."""

    door: Door


def server_config(app: ASGIApp, settings: GatewaySettings, *, most_connections: int | None = None) -> ServerConfig:
    """The one configuration for both deployments, tests and benchmarks.

    ``access_log`` off: it costs 50 µs a request and prints query strings; ``middleware/request_log.py`` logs once.
    ``most_connections`` is what the process can afford of ``max_client_connections``. ``proxy_headers`` off: ``client_address.py`` decides whom to believe. No compression on WebSockets: a bomb is one frame.
    """
    config = ServerConfig(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=MAX_INBOUND_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(settings.drain_seconds)),
    )
    config.door = Door(
        most=most_connections or settings.max_client_connections,
        most_of_one=settings.max_connections_per_client,
        trusted=parse_networks(settings.trusted_proxies),
    )
    return config
