"""What is done to the product, when, and to whom: a schedule that follows from one seed and is carried out as well as it goes.

Three lanes work side by side, each one fault after the other: roles, servers with their links, and the origin's link. The schedule
is fixed by the seed; how far a lane gets in the time, and where in its work each process is hit, is the machine's doing.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.campaign.deployment import LEASE_SECONDS, Deployment, descendants_named, kill_process
from tests.faults.campaign.history import History
from tests.support.cutting_proxy import CuttingProxy

WITNESS_SECONDS = 6.0  # how long a kill point may take to be passed
RECOVERY_SECONDS = 40.0
LAST_PASSING = {"K6": 40, "K7": 6, "K12": 2, "K13": 1, "K14": 1, "K16": 10}
PLACES = {
    "serve": [f"K{number}" for number in range(1, 17)],
    "gateway": ["K1", "K2", "K3", "K15"],
    "downloader": ["K4", "K5", "K6", "K7", "K8", "K9", "K10", "K11", "K12", "K13"],
    "auth": ["K14"],
}
ROLE_FAULTS = {"kill": 5, "armed": 6, "stop": 1, "terminate": 2, "ffmpeg": 1}
SERVER_FAULTS = {"kill": 5, "stop": 2, "link": 5, "flush": 1}
TOXICS = ("delay", "slow", "slices", "cut", "reset", "refuse", "black hole")


@dataclass(frozen=True, slots=True)
class Fault:
    """``target`` is a role, a server or a link; ``detail`` a kill point or a toxic."""

    kind: str
    target: str
    detail: str
    seconds: float
    rest_seconds: float


def role_faults(seed: int, roles: list[str], *, has_engine_places: bool) -> Iterator[Fault]:
    chance = random.Random(f"{seed}/roles")
    places = _places(chance, roles, has_engine_places=has_engine_places)
    weights = [1 if name in {"asset", "parser", "auth"} else 3 for name in roles]
    while True:
        kind = chance.choices(list(ROLE_FAULTS), list(ROLE_FAULTS.values()))[0]
        target, detail = chance.choices(roles, weights)[0], ""
        if kind == "armed":
            target, detail = next(places)
        yield Fault(kind, target, detail, LEASE_SECONDS + chance.uniform(0.5, 2.0), chance.uniform(0.2, 2.2))


def server_faults(seed: int, servers: list[str]) -> Iterator[Fault]:
    chance = random.Random(f"{seed}/servers")
    weights = [1 if name == "RabbitMQ" else 3 for name in servers]  # a broker takes ten seconds to start
    while True:
        kind = chance.choices(list(SERVER_FAULTS), list(SERVER_FAULTS.values()))[0]
        target = "Redis" if kind == "flush" else chance.choices(servers, weights)[0]
        yield Fault(kind, target, chance.choice(TOXICS), chance.uniform(0.3, 4.0), chance.uniform(0.3, 2.0))


def origin_faults(seed: int) -> Iterator[Fault]:
    chance = random.Random(f"{seed}/origin")
    while True:
        yield Fault("link", "origin", chance.choice(TOXICS), chance.uniform(0.3, 2.0), chance.uniform(2.0, 6.0))


def _places(chance: random.Random, roles: list[str], *, has_engine_places: bool) -> Iterator[tuple[str, str]]:
    """Every kill point in turn, in an order of the seed's, on one of the roles that pass it."""
    while True:
        turn = [(role, place) for role in roles for place in PLACES.get(role.partition("-")[0], [])]
        chance.shuffle(turn)
        for role, place in turn:
            if has_engine_places or place not in {"K6", "K7", "K8", "K9"}:
                yield role, f"{place}:{chance.randint(1, LAST_PASSING.get(place, 6))}"


@dataclass
class Nemesis:
    """``kills`` counts by target and way; ``faults`` everything else that was done."""

    seed: int
    deployment: Deployment
    origin: CuttingProxy
    history: History
    has_engine_places: bool
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    server_recoveries: dict[str, list[float]] = field(default_factory=dict)

    async def torment(self) -> None:
        """Until cancelled; then everything that was stopped goes on and every link is whole."""
        roles = role_faults(self.seed, list(self.deployment.lives), has_engine_places=self.has_engine_places)
        lanes = [self._lane(roles, self._at_a_role), self._lane(origin_faults(self.seed), self._at_a_link)]
        if self.deployment.servers:
            lanes.append(self._lane(server_faults(self.seed, list(self.deployment.servers)), self._at_a_server))
        try:
            await asyncio.gather(*lanes)
        finally:
            self.deployment.heal()
            self.origin.heal()
            for life in self.deployment.lives.values():
                life.role.signal(signal.SIGCONT)

    async def _lane(self, faults: Iterator[Fault], strike: Callable[[Fault], Awaitable[None]]) -> None:
        for fault in faults:
            await asyncio.sleep(fault.rest_seconds)
            await strike(fault)

    async def _at_a_role(self, fault: Fault) -> None:
        name, life = fault.target, self.deployment.lives[fault.target]
        if fault.kind == "kill" and self.deployment.kill(name):
            self._killed(name, "kill -9")
        elif fault.kind == "armed" and self.deployment.kill(name, armed=fault.detail):
            self._killed(name, "kill -9")
            await self._recovered(name)
            await self._witness(name)
        elif fault.kind == "terminate" and self.deployment.terminate(name):
            self._noted(f"SIGTERM {_kind(name)}", name)
        elif fault.kind == "ffmpeg":
            roots = [one.role.process.pid for one in self.deployment.lives.values() if one.role.process is not None]
            for pid in await asyncio.to_thread(descendants_named, "ffmpeg", roots):
                if kill_process(pid):
                    self._killed("ffmpeg", "kill -9")
        elif fault.kind == "stop" and life.ready.is_set():
            self._noted(f"SIGSTOP {_kind(name)}", name)
            life.role.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                life.role.signal(signal.SIGCONT)
        await self._recovered(name)

    async def _recovered(self, name: str) -> None:
        with suppress(TimeoutError):
            await asyncio.sleep(0.15)
            async with asyncio.timeout(RECOVERY_SECONDS):
                await self.deployment.lives[name].ready.wait()

    async def _witness(self, name: str) -> None:
        """Wait for the kill point to be passed; one that is not passed stays armed until the next kill."""
        life = self.deployment.lives[name]
        with suppress(TimeoutError):
            async with asyncio.timeout(WITNESS_SECONDS):
                while life.armed is not None:
                    await asyncio.sleep(0.05)

    async def _at_a_server(self, fault: Fault) -> None:
        server = self.deployment.servers[fault.target]
        if fault.kind == "link":
            await self._poison(self.deployment.links[fault.target], fault)
        elif fault.kind == "flush":
            self._noted("flush Redis", "Redis")
            await asyncio.to_thread(_flush, server.url)
        elif fault.kind == "stop":
            self._noted(f"SIGSTOP {fault.target}", fault.target)
            server.pause()
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                server.go_on()
        else:
            await asyncio.shield(self._restart_server(fault))

    async def _restart_server(self, fault: Fault) -> None:
        server = self.deployment.servers[fault.target]
        await asyncio.to_thread(server.kill)
        self._killed(fault.target, "kill -9")
        await asyncio.sleep(fault.seconds / 4)
        begun = asyncio.get_running_loop().time()
        await asyncio.to_thread(server.start)
        seconds = round(asyncio.get_running_loop().time() - begun, 2)
        self.server_recoveries.setdefault(fault.target, []).append(seconds)

    async def _at_a_link(self, fault: Fault) -> None:
        await self._poison(self.origin, fault)

    async def _poison(self, link: CuttingProxy, fault: Fault) -> None:
        self._noted(f"link {fault.target}: {fault.detail}", fault.target)
        if fault.detail == "delay":
            link.delay_seconds = 0.05
        elif fault.detail == "slow":
            link.bytes_per_second = 100_000.0
        elif fault.detail == "slices":
            link.slice_bytes = 7
            link.cut_after_bytes = 20_000
        elif fault.detail == "cut":
            link.cut_after_bytes = 5_000
        elif fault.detail == "reset":
            link.cut()
        elif fault.detail == "refuse":
            link.refuse()
        else:
            link.black_hole()
        await asyncio.sleep(fault.seconds)
        link.heal()

    def _killed(self, target: str, how: str) -> None:
        self.kills[_kind(target)] += 1
        self.history.note("kill", target=target, how=how)

    def _noted(self, what: str, target: str) -> None:
        self.faults[what] += 1
        self.history.note("fault", target=target, how=what)


def _kind(name: str) -> str:
    """``gateway`` for ``gateway-2``."""
    return name.partition("-")[0]


def _flush(url: str) -> None:
    import redis

    with suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=2) as client:
        client.flushall()
