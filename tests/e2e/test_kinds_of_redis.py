"""The services on Redis behind Sentinel and on a Redis cluster: progress, tickets and hints work, and a failover costs latency only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.api_client import ApiClient, api_client
from tests.support.deployments import DistributedDeployment, Product
from tests.support.origin import Origin
from tests.support.redis_topologies import RedisNode, running_redis_cluster, running_sentinel
from vasset.bootstrap.cluster import Servers
from vasset.bootstrap.local_servers import PostgresServer, RabbitServer, RedisServer

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers"), pytest.mark.timeout(180)]


@pytest.fixture(params=["sentinel", "cluster"])
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, RedisNode]]:
    """The address for ``VASSET_CACHE_URL``, and a master that may be killed."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sentinel":
        with running_sentinel(folder) as sentinels:
            yield sentinels.url, sentinels.master
    else:
        with running_redis_cluster(folder, replicas=1) as nodes:
            yield nodes.url, nodes.nodes[0]


@asynccontextmanager
async def watching(product: Product, user: ApiClient) -> AsyncIterator[Any]:
    async with asyncio.timeout(60):  # while the failover lasts there is no ticket, and the page polls
        while (answer := await user.call("POST", "/api/v1/ws/ticket")).status == 503:
            await asyncio.sleep(0.1)
    ticket = answer.data["ticket"]
    async with (
        aiohttp.ClientSession(product.url) as session,
        session.ws_connect("/api/v1/ws", protocols=("vasset.v1", f"ticket.{ticket}")) as socket,
    ):
        assert (await socket.receive_json(timeout=10))["event"] == "snapshot"
        yield socket


async def frames_until(socket: Any, task_id: str, phase: str) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not frames or frames[-1]["phase"] != phase:
            message = await socket.receive_json()
            if message["event"] == "progress" and message["task"]["task_id"] == task_id:
                frames.append(message["task"])
    seqs = [frame["seq"] for frame in frames]
    assert seqs == sorted(set(seqs))
    return frames


async def test_the_product_runs_on_every_kind_of_redis(
    redis: tuple[str, RedisNode],
    origin: Origin,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    rabbit_server: RabbitServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    url, master = redis
    servers = Servers(postgres_server, redis_server, rabbit_server)
    deployment = DistributedDeployment(tmp_path_factory.mktemp("product"), servers)
    settings = {"egress_allow": origin.address, "cache_url": url, "heartbeat_seconds": "20", "lease_seconds": "60"}
    async with deployment.running(programs=None, **settings) as product, api_client(product.url) as client:
        user = await client.register("ann@example.test")
        async with watching(product, user) as socket:
            accepted = await user.submit(origin.url("progressive.mp4", slow=True), format="original")
            ticks = 0
            async with asyncio.timeout(60):
                while ticks < 3:
                    message = await socket.receive_json()
                    ticks += message["event"] == "progress" and message["task"]["phase"] == "downloading"
            async with asyncio.timeout(10):  # by a hint: the heartbeat that would tell the worker is 20 s away
                await user.call("POST", f"/api/v1/downloads/{accepted['task_id']}/cancel")
                await frames_until(socket, accepted["task_id"], "cancelled")
        await asyncio.to_thread(master.kill)
        await user.completed(origin.url("progressive.mp4"), format="original")
        async with watching(product, user) as socket:
            accepted = await user.submit(origin.url("progressive.mp4"), format="original")
            await frames_until(socket, accepted["task_id"], "completed")
        assert await product.stop() == 0
        assert "Traceback" not in "\n".join(product.log)
    await deployment.healthy()
