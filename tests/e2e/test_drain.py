"""SIGTERM under load: every request that was taken is answered, and every download goes on elsewhere at once (P25)."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import select

from tests.support.api_client import api_client
from tests.support.databases import opened
from tests.support.origin import Origin
from tests.support.processes import run_vasset
from tests.support.server_folder import server_folder
from vasset.adapters.db.tables import tasks
from vasset.bootstrap.cluster import Cluster
from vasset.domain.download import TaskStatus

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]
RECLAIMED_WITHIN_SECONDS = 5.0
ROUNDS = 3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(origin: Origin) -> AsyncIterator[Cluster]:
    settings = {
        "VASSET_EGRESS_ALLOW": origin.address,
        "VASSET_BCRYPT_COST": "4",
        "VASSET_LEASE_SECONDS": "60",  # what is handed back need not wait for it
        "VASSET_DRAIN_SECONDS": "5",
        "VASSET_LEAVE_SECONDS": "1",
        "VASSET_REQUESTS_PER_MINUTE": "1000000",  # the balancer asks as fast as it is answered
        "VASSET_LOG_FORMAT": "json",
    }
    with server_folder("drain") as folder:
        made = Cluster(folder, workers=2, gateways=2, environment=settings, fsync=False)
        await asyncio.to_thread(made.__enter__)
        try:
            yield made
            environment = made.roles["downloader"].environment
            named = {name[7:].lower(): value for name, value in environment.items() if name.startswith("VASSET_")}
            code, out, err = await run_vasset("doctor", **named)
            assert code == 0, f"doctor found:\n{out}\n{err}"
        finally:
            await asyncio.to_thread(made.__exit__)


@dataclass
class Balancer:
    """Clients behind a load balancer: it asks ``/readyz`` and sends to who is ready; whatever fails then is a failure."""

    urls: list[str]
    token: str
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    _ready: set[str] = field(default_factory=set)
    _turn: itertools.count[int] = field(default_factory=itertools.count)

    async def keep_looking(self, until: asyncio.Event) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while not until.is_set():
                for url in self.urls:
                    try:
                        async with session.get(url + "/readyz") as answer:
                            ready = answer.status == 200
                    except (aiohttp.ClientError, TimeoutError):
                        ready = False
                    (self._ready.add if ready else self._ready.discard)(url)
                await asyncio.sleep(0.05)

    async def keep_asking(self, until: asyncio.Event) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            while not until.is_set():
                ready = sorted(self._ready)
                if not ready:
                    await asyncio.sleep(0.01)
                    continue
                url = ready[next(self._turn) % len(ready)]
                try:
                    async with session.get(url + "/api/v1/downloads") as answer:
                        await answer.read()
                        if answer.status != 200:
                            self.failures.append(f"{answer.status} of {url}")
                        self.answered += 1
                except aiohttp.ClientError as error:
                    self.failures.append(f"{error!r} of {url}")

    async def has_answered(self, more: int) -> None:
        wanted = self.answered + more
        async with asyncio.timeout(60):
            while self.answered < wanted:
                await asyncio.sleep(0.01)


async def test_no_request_fails_while_gateways_are_replaced(cluster: Cluster) -> None:
    async with api_client(cluster.url) as client:
        user = await client.register("bob@example.test")
        names = [name for name in cluster.roles if name.startswith("gateway")]
        balancer = Balancer([cluster.roles[name].url for name in names], str(user._token))
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(balancer.keep_looking(enough))
            for _ in range(8):
                group.create_task(balancer.keep_asking(enough))
            for name in names * ROUNDS:
                await balancer.has_answered(50)
                cluster.roles[name].signal(signal.SIGTERM)
                await asyncio.to_thread(cluster.restart, name)
            await balancer.has_answered(50)
            enough.set()
    assert balancer.failures == []


async def test_a_drained_worker_hands_its_downloads_over_at_once(cluster: Cluster, origin: Origin) -> None:
    async with api_client(cluster.url) as client:
        user = await client.register("eve@example.test")
        accepted = [await user.submit(origin.url("progressive.mp4", slow=True), format="original") for _ in range(6)]
        for one in accepted:
            await user.reached(one["task_id"], {"downloading"})
        first = await owners(cluster)
        assert len(first) == len(accepted)
        worker = cluster.roles["downloader"]
        worker.signal(signal.SIGTERM)
        await asyncio.to_thread(worker.wait)
        async with asyncio.timeout(RECLAIMED_WITHIN_SECONDS):
            while len(await owners(cluster)) < len(accepted) or len(set((await owners(cluster)).values())) > 1:
                await asyncio.sleep(0.05)
        await asyncio.to_thread(cluster.restart, "downloader")
        for one in accepted:
            task = await user.ended(one["task_id"])
            assert (task["status"], task["attempt"]) == ("completed", 1), task
            assert (await user.file(one["history_id"])).body == (origin.media.folder / "progressive.mp4").read_bytes()


async def owners(cluster: Cluster) -> dict[str, str]:
    """Of every running download: who holds its lease."""
    async with opened(cluster.postgres.url, None) as database, database.read() as transaction:
        running = select(tasks.c.id, tasks.c.lease_owner).where(tasks.c.status == TaskStatus.RUNNING)
        return dict((await transaction.execute(running)).all())
