"""The settings the gateway reads, by shape: ``config.Settings`` has them, and the gateway need not know the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class GatewaySettings(Protocol):
    """What each one means is said in ``config.py``."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def drain_seconds(self) -> float: ...

    @property
    def allowed_hosts(self) -> Sequence[str]: ...

    @property
    def allowed_origins(self) -> Sequence[str]: ...

    @property
    def trusted_proxies(self) -> Sequence[str]: ...

    @property
    def accel_redirect_prefix(self) -> str | None: ...

    @property
    def revocation_seconds(self) -> float: ...

    @property
    def max_client_connections(self) -> int: ...

    @property
    def max_connections_per_client(self) -> int: ...

    @property
    def requests_per_minute(self) -> int: ...

    @property
    def parses_per_minute(self) -> int: ...

    @property
    def extraction_timeout_seconds(self) -> float: ...
