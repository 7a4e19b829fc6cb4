"""The cluster under measurement, an origin for it, accounts in it, and what its processes use."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.media import Media
from tests.support.origin import Origin, running_origin
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import open_database
from vasset.bootstrap.clock import SystemClock
from vasset.bootstrap.cluster import Cluster
from vasset.services.auth.tokens import TokenSigner

MP4_HEAD = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
FILES = {"page.mp4": 64 * 2**10, "clip.mp4": 2 * 2**20, "film.mp4": 20 * 10**6}
MANY = str(10**6)


@dataclass(frozen=True, slots=True)
class Account:
    user_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Measured:
    cluster: Cluster
    origin: Origin

    @property
    def port(self) -> int:
        return int(self.cluster.url.rpartition(":")[2])

    def setting(self, name: str) -> str:
        return self.cluster.roles["gateway"].environment[f"VASSET_{name}"]

    def cpu_seconds(self, roles: Iterable[str] | None = None, *, servers: bool = False) -> float:
        """User and system time so far of these services (None: all) and their children; with ``servers`` of the three below them too."""
        return sum(map(_cpu, self._processes(self.cluster.roles if roles is None else roles, servers=servers)))

    def resident_mib(self, role: str) -> tuple[float, float]:
        """Of the service's own process, and of the children it keeps warm."""
        own, *children = self._processes([role])
        return _resident(own), sum(map(_resident, children))

    def unshared_mib(self, roles: Iterable[str]) -> float:
        """What these roles and their children add to the machine: pages that several processes share count once in all."""
        return sum(map(_proportional, self._processes(roles)))

    def _processes(self, roles: Iterable[str], *, servers: bool = False) -> list[psutil.Process]:
        pids = [role.process.pid for name in roles if (role := self.cluster.roles[name]).process is not None]
        if servers:
            pids += [self.cluster.postgres.pid, self.cluster.redis.pid, self.cluster.rabbit.pid]
        return [process for pid in pids for process in _tree(pid)]

    async def accounts(self, count: int) -> list[Account]:
        """Premium accounts with live sessions, written as the auth service writes them but without hashing a password each."""
        signer = TokenSigner(self.setting("SECRET_KEY").encode(), clock=SystemClock())
        database = open_database(self.setting("DATABASE_URL"), pool_size=2)
        store = SqlAccounts(database)
        made = []
        try:
            for _ in range(count):
                mark = secrets.token_hex(8)
                user = await store.create(
                    f"{mark}@example.org", "no password", "load", registration="open", invitation_hash=None
                )
                session = await store.open_session(
                    user.id, secrets.token_bytes(32), ttl_seconds=3600, user_agent="benchmark"
                )
                made.append(Account(user.id, signer.sign(user.id, session, ttl_seconds=3600)))
        finally:
            await database.close()
        return made


@contextmanager
def measured_cluster(*, workers: int) -> Iterator[Measured]:
    """Limits out of the way, everything else as it comes."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="vasset-bench-", ignore_cleanup_errors=True))
        )
        folder.chmod(0o755)
        media = folder / "media"
        media.mkdir()
        for name, size in FILES.items():
            (media / name).write_bytes(MP4_HEAD + os.urandom(size - len(MP4_HEAD)))
        origin = stack.enter_context(running_origin(folder, Media(media)))
        environment = {
            "VASSET_EGRESS_ALLOW": origin.address,
            "VASSET_LOG_FORMAT": "json",
            "VASSET_LOG_LEVEL": "warning",
            "VASSET_REQUESTS_PER_MINUTE": MANY,
            "VASSET_PARSES_PER_MINUTE": MANY,
            "VASSET_DAILY_LIMIT_FREE": MANY,
            "VASSET_DAILY_LIMIT_ADMIN": MANY,
            "VASSET_MAX_CONNECTIONS_PER_HOST": "128",  # one origin plays the part of many sites
        }
        yield Measured(
            stack.enter_context(Cluster(folder / "cluster", workers=workers, environment=environment)), origin
        )


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu(process: psutil.Process) -> float:
    """With the children that have ended and were waited for."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def _resident(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return float(process.memory_info().rss) / 2**20
    return 0.0


def _proportional(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
        return float(process.memory_full_info().pss) / 2**20
    return 0.0
