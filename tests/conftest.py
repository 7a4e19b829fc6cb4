"""Fixtures of every suite: real servers, started once per test process and only when a test asks for one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.deployments import Deployment, DistributedDeployment, EmbeddedDeployment, MakeDeployment
from vasset.bootstrap.cluster import Servers
from vasset.bootstrap.local_servers import LocalServer, PostgresServer, RabbitServer, RedisServer

_numbers = itertools.count(1)


def _running(server: LocalServer) -> Iterator[LocalServer]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[LocalServer]:
    """PostgreSQL without fsync: tests that kill it start their own."""
    with databases.postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    yield from _running(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def rabbit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    yield from _running(RabbitServer(tmp_path_factory.mktemp("rabbitmq")))


@pytest.fixture
def postgres_url(postgres_server: LocalServer) -> str:
    """An empty database of its own for every test."""
    assert isinstance(postgres_server, PostgresServer)
    return postgres_server.create_database(f"test_{next(_numbers)}")


@pytest.fixture
def redis_url(redis_server: LocalServer) -> str:
    """An empty logical database; tests share the server, so each takes the next of its sixteen and empties it."""
    import redis

    url = redis_server.url.rsplit("/", 1)[0] + f"/{next(_numbers) % 16}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever asks for `make_deployment` runs over both. xdist joins the groups of several marks into a new one, so a module that
    is parametrised here names no group itself: embedded gets one per module, distributed goes where the servers run."""
    if "make_deployment" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition(".")[2]
        both = [
            pytest.param("embedded", marks=pytest.mark.xdist_group(module)),
            pytest.param("distributed", marks=[pytest.mark.servers, pytest.mark.xdist_group("servers")]),
        ]
        metafunc.parametrize("make_deployment", both, indirect=True, scope="module")


@pytest.fixture(scope="module")
def make_deployment(request: pytest.FixtureRequest) -> MakeDeployment:
    """Answers a new product for a folder: embedded, or five services on the session's servers."""
    if request.param == "embedded":
        return EmbeddedDeployment
    postgres, redis, rabbit = (
        request.getfixturevalue(name) for name in ("postgres_server", "redis_server", "rabbit_server")
    )

    def make(folder: Path) -> Deployment:
        return DistributedDeployment(folder, Servers(postgres, redis, rabbit))

    return make
