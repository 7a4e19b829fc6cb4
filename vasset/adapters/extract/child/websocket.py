"""Media that a site sends as WebSocket messages, behind the guard like everything else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Protocol

from yt_dlp.networking.exceptions import ProxyError, TransportError

from vasset.adapters.extract.child.downloader import GuardedDownloader

LOOK_SECONDS = 0.5
SILENCE_SECONDS = 60.0
MAX_MESSAGE_BYTES = 16 * 2**20
HANDSHAKE = frozenset({"connection", "host", "upgrade", "accept-encoding", "content-length", "user-agent"})


class Listening(Protocol):
    """Who decides how long to listen."""

    @property
    def downloader(self) -> GuardedDownloader: ...

    def is_over(self) -> bool: ...


def received_over_websocket(session: Listening, form: dict[str, Any]) -> Iterator[bytes]:
    """Messages until the other side closes, falls silent, or ``session`` is over. Raises yt-dlp's ``TransportError``."""
    from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, WebSocketException
    from websockets.sync.client import connect

    headers = {str(name): str(value) for name, value in (form.get("http_headers") or {}).items()}
    more: dict[str, Any] = {"ssl": _trusted()} if form["url"].lower().startswith("wss:") else {}
    if agent := headers.get("User-Agent"):
        more["user_agent_header"] = agent
    try:
        with connect(
            form["url"],
            proxy=session.downloader.params["proxy"],
            additional_headers={name: value for name, value in headers.items() if name.lower() not in HANDSHAKE},
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=20,
            close_timeout=2,
            **more,
        ) as connection:
            heard = time.monotonic()
            while not session.is_over() and time.monotonic() - heard < SILENCE_SECONDS:
                with contextlib.suppress(TimeoutError):
                    message = connection.recv(timeout=LOOK_SECONDS)
                    heard = time.monotonic()
                    yield message.encode() if isinstance(message, str) else message
    except ConnectionClosed:
        return
    except InvalidProxyStatus as error:
        raise ProxyError(f"Tunnel connection failed: {error.response.status_code}", cause=error) from error
    except (WebSocketException, OSError) as error:
        raise TransportError("the WebSocket could not be opened", cause=error) from error


def _trusted() -> Any:
    import ssl

    import certifi

    return ssl.create_default_context(cafile=certifi.where())
