"""The five services while they run: reached, restarted with other settings, killed for a while."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.api_client import ApiClient
from vasset.bootstrap.cluster import Cluster
from vasset.bootstrap.local_servers import LocalServer


@dataclass
class Running:
    cluster: Cluster
    user: ApiClient

    @property
    def token(self) -> str:
        return self.cluster.roles["auth"].environment["VASSET_SERVICE_TOKEN"]

    def address(self, role: str) -> str:
        return f"127.0.0.1:{self.cluster.roles[role].environment['VASSET_SERVICE_PORT']}"

    @asynccontextmanager
    async def changed(self, **environments: dict[str, str]) -> AsyncIterator[None]:
        """Roles restarted with other settings, and restarted as they were at the end."""
        before = {name: self.cluster.roles[name].environment for name in environments}
        for name, changes in environments.items():
            await self._restart(name, {**before[name], **changes})
        try:
            yield
        finally:
            for name, environment in before.items():
                await self._restart(name, dict(environment))

    async def _restart(self, name: str, environment: dict[str, str]) -> None:
        role = self.cluster.roles[name]
        role.signal(signal.SIGTERM)
        role.environment = environment
        await asyncio.to_thread(self.cluster.restart, name)

    @asynccontextmanager
    async def without(self, part: str) -> AsyncIterator[None]:
        """A role or a server killed by -9, and back at the end."""
        servers: dict[str, LocalServer] = {
            "postgresql": self.cluster.postgres,
            "redis": self.cluster.redis,
            "rabbitmq": self.cluster.rabbit,
        }
        if part in servers:
            await asyncio.to_thread(servers[part].kill)
        else:
            self.cluster.roles[part].signal(signal.SIGKILL)
        try:
            yield
        finally:
            if part in servers:
                await asyncio.to_thread(servers[part].start)
            else:
                await asyncio.to_thread(self.cluster.restart, part)
