"""The product under test, embedded or distributed, as the nemesis sees it: roles and servers that die, links that fail.

Roles that died are started again, as an init system would, with or without a kill point for their next life.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import vasset
from tests.faults.campaign.history import History
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import vasset_environment
from vasset.bootstrap.cluster import Cluster, Role, answers
from vasset.bootstrap.local_servers import LocalServer, free_port

RESTART_AFTER_SECONDS = 0.1
READY_SECONDS = 60.0
LEASE_SECONDS = 3.0
SETTINGS = {
    "VASSET_BCRYPT_COST": "4",
    "VASSET_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "VASSET_HEARTBEAT_SECONDS": "1",
    "VASSET_LOG_FORMAT": "json",
    "VASSET_LOG_LEVEL": "warning",
    "VASSET_HASH_ALGORITHM": "sha256",
    "VASSET_DAILY_LIMIT_FREE": "100000",
    "VASSET_QUICK_TTL_SECONDS": "10",
    "VASSET_JANITOR_INTERVAL_SECONDS": "2",
    "VASSET_WORKER_SLOTS": "16",
    "VASSET_MAX_LOAD_PER_CORE": "1000",
    "VASSET_DISK_ALERT_PERCENT": "99",
    "VASSET_LOGIN_ATTEMPTS_PER_MINUTE": "1000",
    "VASSET_DRAIN_SECONDS": "5",
}


@dataclass
class Life:
    """One role and what its last end was: ``expected`` is set by whoever ends it on purpose."""

    role: Role
    expected: str | None = None
    armed: str | None = None
    started_at: float = 0.0
    ready: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Deployment:
    """``urls`` are the gateways'; ``files`` the data folder; ``links`` proxies by the server's name."""

    name: str
    urls: list[str]
    files: Path
    lives: dict[str, Life]
    servers: dict[str, LocalServer]
    links: dict[str, CuttingProxy]
    environment: Mapping[str, str]
    history: History
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    fired: dict[str, int] = field(default_factory=dict)
    gave_up: int = 0

    async def supervise(self) -> None:
        """Until cancelled: start what ended, and say what ended without having been asked to."""
        async with asyncio.TaskGroup() as group:
            for life in self.lives.values():
                group.create_task(self._keep_alive(life))

    async def _keep_alive(self, life: Life) -> None:
        while True:
            process = life.role.process
            assert process is not None
            if process.poll() is None:
                if not life.ready.is_set() and await asyncio.to_thread(_is_ready, life.role.url):
                    life.ready.set()
                    seconds = time.monotonic() - life.started_at
                    self.recoveries.setdefault(life.role.name, []).append(round(seconds, 2))
                await asyncio.sleep(0.05)
                continue
            self._judge(life, process.returncode)
            await asyncio.sleep(RESTART_AFTER_SECONDS)
            self.start(life)

    def _judge(self, life: Life, code: int) -> None:
        expected, armed = life.expected, life.armed
        life.expected = None
        if expected is not None:
            return
        if armed is not None and code == -signal.SIGKILL:
            place = armed.partition(":")[0]
            self.fired[place] = self.fired.get(place, 0) + 1
            life.armed = None
            self.history.note("kill", target=life.role.name, how=armed)
        elif code == 1 and not life.ready.is_set():
            self.gave_up += 1  # a server it needs at its start was away: it says so and is started again
        else:
            words = " / ".join(life.role.log.read_text(errors="replace").splitlines()[-3:])[-600:]
            self.history.note("crash", role=life.role.name, code=code, words=words)

    def start(self, life: Life) -> None:
        life.ready.clear()
        life.started_at = time.monotonic()
        environment = {name: value for name, value in life.role.environment.items() if name != "VASSET_KILL_AT"}
        if life.armed is not None:
            environment["VASSET_KILL_AT"] = life.armed
        life.role.environment = environment
        life.role.start()

    def kill(self, name: str, *, armed: str | None = None) -> bool:
        """kill -9; the next life dies at ``armed`` when it gets there. False when it was dead already."""
        life = self.lives[name]
        if life.role.process is None or life.role.process.poll() is not None:
            return False
        life.expected, life.armed = "killed", armed
        life.role.signal(signal.SIGKILL)
        return True

    def terminate(self, name: str) -> bool:
        life = self.lives[name]
        if life.role.process is None or life.role.process.poll() is not None or not life.ready.is_set():
            return False
        life.expected, life.armed = "terminated", None
        life.role.signal(signal.SIGTERM)
        return True

    async def all_ready(self) -> None:
        async with asyncio.timeout(READY_SECONDS):
            for life in self.lives.values():
                while not (
                    life.role.process is not None
                    and life.role.process.poll() is None
                    and await asyncio.to_thread(_is_ready, life.role.url)
                ):
                    await asyncio.sleep(0.1)

    def disarm(self) -> None:
        """End the lives that are still armed: the last part of a campaign is without faults."""
        for name, life in self.lives.items():
            if life.armed is not None:
                self.kill(name)

    def heal(self) -> None:
        for link in self.links.values():
            link.heal()


@asynccontextmanager
async def embedded(
    folder: Path, settings: Mapping[str, str], history: History, engine: Path | None
) -> AsyncIterator[Deployment]:
    port = free_port()
    files = folder / "data"
    files.mkdir(parents=True)
    environment = {
        **vasset_environment(),
        **SETTINGS,
        **settings,
        **_overlay(folder, engine),
        "VASSET_DATA_DIR": str(files),
        "VASSET_PORT": str(port),
    }
    role = Role("serve", f"http://127.0.0.1:{port}", environment, folder / "serve.log")
    deployment = Deployment("embedded", [role.url], files, {"serve": Life(role)}, {}, {}, environment, history)
    deployment.start(deployment.lives["serve"])
    try:
        async with _supervised(deployment):
            yield deployment
    finally:
        await _stop(role)


@asynccontextmanager
async def distributed(
    folder: Path, settings: Mapping[str, str], history: History, engine: Path | None
) -> AsyncIterator[Deployment]:
    links = {name: CuttingProxy() for name in ("PostgreSQL", "Redis", "RabbitMQ")}
    for link in links.values():
        await link.start()

    def reach(server: LocalServer) -> str:
        link = links[server.name]
        link.target_port = server.port
        return server.url.replace(f":{server.port}/", f":{link.port}/")

    environment = {**vasset_environment(), **SETTINGS, **settings, **_overlay(folder, engine)}
    cluster = Cluster(folder, workers=2, gateways=2, environment=environment, fsync=True, reach=reach)
    await asyncio.to_thread(cluster.__enter__)
    try:
        servers: dict[str, LocalServer] = {
            server.name: server for server in (cluster.postgres, cluster.redis, cluster.rabbit)
        }
        lives = {name: Life(role) for name, role in cluster.roles.items()}
        for life in lives.values():
            life.ready.set()
        urls = [role.url for name, role in cluster.roles.items() if name.startswith("gateway")]
        settled = {**cluster.roles["downloader"].environment}
        files = Path(settled["VASSET_DATA_DIR"])
        async with _supervised(Deployment("distributed", urls, files, lives, servers, links, settled, history)) as made:
            yield made
    finally:
        await asyncio.to_thread(cluster.__exit__)
        for link in links.values():
            await link.stop()


@asynccontextmanager
async def _supervised(deployment: Deployment) -> AsyncIterator[Deployment]:
    supervising = asyncio.create_task(deployment.supervise(), name="supervisor")
    try:
        await deployment.all_ready()
        yield deployment
    finally:
        supervising.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervising


async def _stop(role: Role) -> None:
    role.signal(signal.SIGCONT)
    role.signal(signal.SIGTERM)
    await asyncio.to_thread(role.wait)


def _overlay(folder: Path, engine: Path | None) -> dict[str, str]:
    """The package as it is, with the engine that has faultpoints in the place of the released one."""
    if engine is None:
        return {}
    package = folder / "overlay" / "vasset"
    package.mkdir(parents=True)
    for entry in Path(vasset.__file__).parent.iterdir():
        if not entry.name.startswith("_engine"):
            (package / entry.name).symlink_to(entry)
    (package / "_engine.abi3.so").symlink_to(engine.resolve())
    return {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"}


def _is_ready(url: str) -> bool:
    return answers(url + "/readyz")


def descendants_named(name: str, roots: list[int]) -> list[int]:
    """Process ids of running ``name`` below ``roots``: only ours are ever looked at."""
    found: list[int] = []
    for root in roots:
        with contextlib.suppress(psutil.Error):
            found += [child.pid for child in psutil.Process(root).children(recursive=True) if child.name() == name]
    return found


def kill_process(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
