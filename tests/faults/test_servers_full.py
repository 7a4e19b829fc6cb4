"""A full disk under PostgreSQL, RabbitMQ or Redis: an answer in words, nothing accepted is lost, and it works again when space is back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.api_client import PASSWORD, ApiClient, api_client
from tests.support.deployments import DistributedDeployment, RunningCluster
from tests.support.lying_origin import LyingOrigin, honest, running_lying_origin
from tests.support.media import Media
from tests.support.redis_topologies import RedisNode
from tests.support.server_folder import server_folder
from vasset.bootstrap.cluster import Servers
from vasset.bootstrap.local_servers import PostgresServer, RabbitServer

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root"),
]
EMAIL = "ann@example.test"
SIZES_MIB = {"postgresql": 120, "rabbitmq": 128, "redis": 16}


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[None]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", str(folder)], capture_output=True, timeout=10
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a filesystem")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


@dataclass
class Stage:
    deployment: DistributedDeployment
    product: RunningCluster
    user: ApiClient
    url: str

    def fill(self, server: str, *, leave_mib: int = 0) -> Path:
        """Take every byte of that server's disk, or all but a few."""
        filler = self.disk(server) / "filler"
        if leave_mib:
            room = shutil.disk_usage(filler.parent).free - leave_mib * 2**20
            filler.write_bytes(bytes(room))
            return filler
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65_536))
        return filler

    def disk(self, server: str) -> Path:
        return self.deployment.folder.parent / server

    async def completes(self) -> dict[str, Any]:
        task, _ = await self.user.completed(self.url, format="original")
        return task

    async def is_alive(self) -> None:
        assert (await self.user.call("GET", "/healthz")).status == 200
        for role in self.product.cluster.roles.values():
            assert role.process is not None
            assert role.process.poll() is None, f"{role.name} ended"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(media: Media) -> AsyncIterator[Stage]:
    with ExitStack() as stack:
        folder = stack.enter_context(server_folder("full"))
        for name, mib in SIZES_MIB.items():
            stack.enter_context(small_disk(folder / name, mib))
        postgres = PostgresServer(folder / "postgresql" / "server")
        rabbit = RabbitServer(folder / "rabbitmq" / "server")
        redis = RedisNode(folder / "redis" / "server", "--save", "3600 1")  # snapshots: then its disk matters
        for server in (postgres, redis, rabbit):
            await asyncio.to_thread(stack.enter_context, server)
        deployment = DistributedDeployment(folder / "product", Servers(postgres, redis, rabbit))
        origin: LyingOrigin
        async with running_lying_origin() as origin:
            origin.routes["/v.mp4"] = honest(media.read("progressive.mp4"))
            async with deployment.running(egress_allow=origin.address) as product, api_client(product.url) as client:
                assert isinstance(product, RunningCluster)
                user = await client.register(EMAIL)
                yield Stage(deployment, product, user, origin.url("/v.mp4"))
                assert await product.stop() == 0
            await deployment.healthy()


async def test_a_full_disk_under_redis_costs_latency_only(stage: Stage) -> None:
    redis = stage.product.cluster.redis
    assert isinstance(redis, RedisNode)
    filler = stage.fill("redis")
    with contextlib.suppress(subprocess.CalledProcessError):
        redis.ask("bgsave")
    async with asyncio.timeout(20):
        while "MISCONF" not in redis.ask("set", "probe", "1"):  # it refuses every write from now on
            await asyncio.sleep(0.05)
    await stage.completes()
    await stage.is_alive()
    assert (
        await stage.user.call("POST", "/api/v1/auth/login", json={"email": EMAIL, "password": PASSWORD})
    ).status == 200
    filler.unlink()
    redis.ask("bgsave")
    async with asyncio.timeout(20):
        while redis.ask("set", "probe", "1").strip() != "OK":
            await asyncio.sleep(0.05)
    await stage.completes()


async def test_a_full_disk_under_the_broker_keeps_accepting(stage: Stage) -> None:
    """RabbitMQ blocks whoever publishes; wake-ups wait in the outbox and workers look for themselves."""
    filler = stage.fill("rabbitmq", leave_mib=20)  # its own limit is 50
    rabbit = stage.product.cluster.rabbit
    async with asyncio.timeout(60):
        while "disk resource limit alarm set" not in words(rabbit.folder / "log"):
            await asyncio.sleep(0.1)
    done = [await stage.completes() for _ in range(3)]
    assert {task["attempt"] for task in done} == {1}
    await stage.is_alive()
    filler.unlink()
    async with asyncio.timeout(60):
        while "disk resource limit alarm cleared" not in words(rabbit.folder / "log"):
            await asyncio.sleep(0.1)
    await stage.completes()


async def test_a_full_disk_under_the_database_is_said_and_loses_nothing(stage: Stage) -> None:
    accepted = [(await stage.completes())["task_id"]]
    filler = stage.fill("postgresql")
    refused = None
    async with asyncio.timeout(60):
        for number in range(5_000):
            title = f"{number} " + "x" * 400
            answer = await stage.user.call(
                "POST", "/api/v1/download", json={"url": stage.url, "format": "original", "title": title}
            )
            if answer.status != 202:
                refused = answer
                break
            accepted.append(answer.data["task_id"])
    assert refused is not None, "a full disk was never noticed"
    assert refused.status in {503, 507}, refused.json
    assert refused.json["retryable"] is True
    assert refused.json["message"]
    await stage.is_alive()
    filler.unlink()
    postgres = stage.product.cluster.postgres
    with contextlib.suppress(Exception):
        await asyncio.to_thread(postgres.stop)  # whatever supervises it starts it again, should it have given up
    await asyncio.to_thread(postgres.start)
    for task_id in accepted[:3] + accepted[-3:]:
        assert (await stage.user.ended(task_id, timeout_seconds=120))["status"] == "completed"
    listed = (await stage.user.call("GET", "/api/v1/downloads", params={"per_page": 100})).data["total"]
    assert listed >= len(accepted)
    await stage.completes()


def words(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*.log"))
