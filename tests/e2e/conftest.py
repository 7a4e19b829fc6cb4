"""A real origin with real media; a real server in its own process; `vasset doctor` at the end of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.api_client import ApiClient, api_client
from tests.support.deployments import Deployment, DistributedDeployment, MakeDeployment, Product, RunningCluster
from tests.support.media import Media, make_media
from tests.support.origin import Origin, running_origin
from tests.support.running_services import Running
from vasset.bootstrap.cluster import Servers
from vasset.bootstrap.local_servers import PostgresServer, RabbitServer, RedisServer


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    base = tmp_path_factory.getbasetemp()
    return make_media(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="module")
def origin(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    with running_origin(tmp_path_factory.mktemp("origin"), media) as running:
        yield running


@dataclass
class Service:
    deployment: str
    server: Product
    data_dir: Path
    anonymous: ApiClient
    user: ApiClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    make_deployment: MakeDeployment, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    """One running product for a module's tests, once embedded and once distributed."""
    deployment: Deployment = make_deployment(tmp_path_factory.mktemp("data"))
    async with (
        deployment.running(egress_allow=origin.address, hash_algorithm="sha256") as server,
        api_client(server.url) as client,
    ):
        yield Service(deployment.name, server, deployment.data_dir, client, await client.register("ann@example.test"))
        assert await server.stop() == 0, "\n".join(server.log[-30:])
    await deployment.healthy()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    rabbit_server: RabbitServer,
    origin: Origin,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    servers = Servers(postgres_server, redis_server, rabbit_server)
    deployment = DistributedDeployment(tmp_path_factory.mktemp("misused"), servers, workers=2)
    async with deployment.running(egress_allow=origin.address, max_retries="1") as product:
        assert isinstance(product, RunningCluster)
        async with api_client(product.url) as client:
            yield Running(product.cluster, await client.register("ann@example.test"))
        assert await product.stop() == 0, "\n".join(product.log[-60:])
    await deployment.healthy()
