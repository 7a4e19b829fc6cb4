"""The running gateway against its own ``/openapi.json``: schemathesis makes up requests, valid and not, for every operation.

Once with everything in one process, and once over the real services, without ``/parse``: made-up sites have no honest answer there.

Never a 5xx; every answer has a documented status and shape; what the schema forbids is refused; what needs a sign-in asks for one.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.api_client import api_client
from tests.support.deployments import DistributedDeployment
from tests.support.gateway import RunningGateway, User, running_gateway
from vasset.bootstrap.cluster import Servers
from vasset.bootstrap.local_servers import PostgresServer, RabbitServer, RedisServer
from vasset.config import Settings
from vasset.gateway.app import create_app
from vasset.gateway.services import GatewayServices

ENDS_THE_SESSION = ("/auth/logout", "/auth/password", "/auth/sessions/")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]


def contract() -> dict[str, Any]:
    """The contract without a server: assembling the application touches no service."""
    nothing: Any = None
    services = GatewayServices(*[nothing] * 9)
    return create_app(services, Settings()).openapi()


schema = schemathesis.openapi.from_dict(contract())


@dataclass
class Server:
    gateway: RunningGateway
    loop: asyncio.AbstractEventLoop

    def sign_up(self) -> User:
        return asyncio.run_coroutine_threadsafe(self.gateway.sign_up(), self.loop).result(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway in a thread of its own: schemathesis calls it synchronously."""
    folder = tmp_path_factory.mktemp("contract")
    ready, stop = threading.Event(), threading.Event()
    started: list[Server] = []

    async def serve() -> None:
        async with running_gateway(folder, requests_per_minute=10**9, parses_per_minute=10**9) as gateway:
            started.append(Server(gateway, asyncio.get_running_loop()))
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield started[0]
    finally:
        stop.set()
        thread.join(30)


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    server.sign_up()
    return server.sign_up()


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_the_contract(case: Any, server: Server, user: User) -> None:
    caller = server.sign_up() if any(part in case.path for part in ENDS_THE_SESSION) else user
    case.call_and_validate(base_url=server.gateway.base, headers=caller.headers, checks=CHECKS, timeout=30)


class Cluster:
    """The five services, run from a thread of their own."""

    def __init__(self, deployment: DistributedDeployment) -> None:
        self._deployment = deployment
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._numbers = itertools.count(1)
        self.url = ""

    def __enter__(self) -> Cluster:
        self._thread.start()
        assert self._ready.wait(90)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def sign_up(self) -> dict[str, str]:
        async def register() -> dict[str, str]:
            async with api_client(self.url) as client:
                return (await client.register(f"user{next(self._numbers)}@example.test")).headers

        return asyncio.run(register())

    async def _serve(self) -> None:
        unlimited = {"requests_per_minute": str(10**9), "parses_per_minute": str(10**9), "max_retries": "0"}
        try:
            async with self._deployment.running(programs=None, **unlimited) as product:
                self.url = product.url
                self._ready.set()
                await asyncio.to_thread(self._stop.wait)
        finally:
            self._ready.set()


@pytest.fixture(scope="module")
def services(
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    rabbit_server: RabbitServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cluster, dict[str, str]]]:
    servers = Servers(postgres_server, redis_server, rabbit_server)
    with Cluster(DistributedDeployment(tmp_path_factory.mktemp("services"), servers)) as cluster:
        cluster.sign_up()
        yield cluster, cluster.sign_up()


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
@schema.exclude(path="/api/v1/parse").parametrize()
@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_keeps_the_contract_over_the_services(
    case: Any, services: tuple[Cluster, dict[str, str]]
) -> None:
    cluster, headers = services
    if any(part in case.path for part in ENDS_THE_SESSION):
        headers = cluster.sign_up()
    case.call_and_validate(base_url=cluster.url, headers=headers, checks=CHECKS, timeout=30)
