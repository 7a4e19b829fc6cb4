"""The two ways of running the product, behind one face: the same suites start, kill, stop and examine either of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.databases import sqlite_url
from tests.support.processes import assert_healthy, run_vasset, serving
from vasset.bootstrap.cluster import Cluster, Servers

_numbers = itertools.count(1)
QUICK_TAKEOVER = {"lease_seconds": "4", "heartbeat_seconds": "1"}
"""A killed worker's tasks are taken over within seconds; embedded takes its own back at its start."""


class Product(Protocol):
    """What runs. ``log`` is everything all of its processes printed."""

    @property
    def url(self) -> str: ...

    @property
    def log(self) -> list[str]: ...

    async def kill(self) -> None:
        """kill -9 of every process of ours."""
        ...

    async def stop(self) -> int:
        """SIGTERM; answers the worst exit code."""
        ...


class Deployment(Protocol):
    """One product's lasting things: what it stored survives from one :meth:`running` to the next."""

    name: str

    @property
    def data_dir(self) -> Path:
        """Holds ``tmp/`` and ``archive/``."""
        ...

    @property
    def database_url(self) -> str: ...

    def running(self, *, programs: Path | None = None, **settings: str) -> AbstractAsyncContextManager[Product]:
        """``settings`` in lower case, without the prefix; ``programs`` is a folder that comes first on PATH."""
        ...

    async def healthy(self) -> None:
        """``vasset doctor`` finds nothing."""
        ...


@dataclass
class EmbeddedDeployment:
    """``vasset serve`` on a folder."""

    data_dir: Path
    name: str = "embedded"

    @property
    def database_url(self) -> str:
        return sqlite_url(self.data_dir / "vasset.db")

    @asynccontextmanager
    async def running(self, *, programs: Path | None = None, **settings: str) -> AsyncIterator[Product]:
        async with serving(self.data_dir, programs=programs, **settings) as server:
            yield server

    async def healthy(self) -> None:
        await assert_healthy(self.data_dir)


@dataclass
class DistributedDeployment:
    """Five services on a database of their own; the servers are shared by the test process."""

    folder: Path
    servers: Servers
    name: str = "distributed"
    workers: int = 1
    _database_url: str = ""
    _environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._database_url = self.servers.postgres.create_database(f"product_{next(_numbers)}")
        self.data_dir.mkdir(parents=True, exist_ok=True)

    @property
    def data_dir(self) -> Path:
        return self.folder / "files"

    @property
    def database_url(self) -> str:
        return self._database_url

    @asynccontextmanager
    async def running(self, *, programs: Path | None = None, **settings: str) -> AsyncIterator[Product]:
        chosen = {"log_format": "json", "bcrypt_cost": "4", "database_url": self.database_url}
        chosen |= QUICK_TAKEOVER | settings
        environment = {f"VASSET_{name.upper()}": value for name, value in chosen.items()}
        if programs is not None:
            environment["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
        cluster = Cluster(self.folder, environment=environment, servers=self.servers, workers=self.workers)
        await asyncio.to_thread(cluster.__enter__)
        self._environment = dict(cluster.roles["downloader"].environment)
        try:
            yield RunningCluster(cluster)
        finally:
            await asyncio.to_thread(cluster.__exit__)

    async def healthy(self) -> None:
        settings = {name[7:].lower(): value for name, value in self._environment.items() if name.startswith("VASSET_")}
        code, out, err = await run_vasset("doctor", **settings)
        assert code == 0, f"doctor found:\n{out}\n{err}"


@dataclass
class RunningCluster:
    """The product's five processes; the servers under them are not touched."""

    cluster: Cluster

    @property
    def url(self) -> str:
        return self.cluster.url

    @property
    def log(self) -> list[str]:
        return [
            f"{role.name}: {line}"
            for role in self.cluster.roles.values()
            if role.log.exists()
            for line in role.log.read_text(errors="replace").splitlines()
        ]

    async def kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        return max((abs(code) for code in await self._end(signal.SIGTERM)), default=0)

    async def _end(self, how: signal.Signals) -> list[int]:
        roles = list(self.cluster.roles.values())
        for role in roles:
            role.signal(how)
        return [code for role in roles if (code := await asyncio.to_thread(role.wait)) is not None]


MakeDeployment = Callable[[Path], Deployment]
