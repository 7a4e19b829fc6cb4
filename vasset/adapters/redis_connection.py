"""Opens Redis by URL: one server, Sentinel, or a cluster. Timeouts are short: Redis may only ever cost latency here.

``redis://`` ``rediss://`` ``redis+sentinel://[:password@]host:port,host:port/service[/db]`` ``redis+cluster://[:password@]host:port,host:port``
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

TIMEOUT_SECONDS = 1.0
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What "Redis does not answer" looks like; the cluster client's own exception is no ``RedisError``."""
LISTENING: dict[str, Any] = {"socket_timeout": None, "protocol": 2}
"""With RESP3 every message goes through redis-py's handler of pushes first, which takes a fifth of the reader's time."""


class Subscriber(Protocol):
    """Opens subscriptions, each of which stays on one connection until that is lost."""

    def pubsub(self, **options: Any) -> Any: ...

    async def aclose(self) -> None: ...


def open_redis(url: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Redis | RedisCluster:
    """A lazy client: nothing connects before the first command. Raises ``ValueError`` for a URL of another kind."""
    parts = urlsplit(url)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return Redis.from_url(
            url, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds, retry=Retry(NoBackoff(), 1)
        )
    nodes = _nodes(parts.netloc)
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "redis+sentinel":
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("a redis+sentinel URL ends with the service name: redis+sentinel://host:26379/mymaster")
        sentinel = Sentinel(nodes, socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds)  # type: ignore[no-untyped-call]
        master: Redis = sentinel.master_for(
            service,
            redis_class=_ClosesItsSentinels,
            password=password,
            db=int(database or 0),
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
        )
        return master
    if parts.scheme == "redis+cluster":
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            password=password,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(
                NoBackoff(), 2
            ),  # the client's own waits up to 10 s between tries: a node that is away would stall all progress
        )
    raise ValueError(f"VASSET_CACHE_URL has the unknown scheme {parts.scheme!r}; use memory:, redis:, rediss:, "
                     "redis+sentinel: or redis+cluster:")  # fmt: skip


def open_subscriber(url: str) -> Subscriber:
    """A client for Pub/Sub, which has no read timeout: silence is normal, and whoever subscribes asks into it."""
    parts = urlsplit(url)
    if parts.scheme == "redis+cluster":
        password = unquote(parts.password) if parts.password else None
        return ClusterSubscriber([_listening(host, port, password) for host, port in _nodes(parts.netloc)])
    if parts.scheme == "redis+sentinel":
        client = open_redis(url)
        if not isinstance(client, Redis):
            raise TypeError("a Sentinel URL opened a cluster client")
        client.connection_pool.connection_kwargs.update(LISTENING)
        return client
    return Redis.from_url(url, socket_connect_timeout=TIMEOUT_SECONDS, **LISTENING)


class _ClosesItsSentinels(Redis):
    """A master's client; redis-py leaves the connections to its Sentinels open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


class ClusterSubscriber:
    """A cluster relays messages through any node, so each new subscription goes to the next: one dead node is no end."""

    def __init__(self, clients: Sequence[Redis]) -> None:
        self._clients = clients
        self._next = itertools.cycle(clients)

    def pubsub(self, **options: Any) -> Any:
        return next(self._next).pubsub(**options)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


def _listening(host: str, port: int, password: str | None) -> Redis:
    return Redis(host=host, port=port, password=password, socket_connect_timeout=TIMEOUT_SECONDS, **LISTENING)


def _nodes(netloc: str) -> list[tuple[str, int]]:
    addresses = netloc.rpartition("@")[2].split(",")
    nodes = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{address!r} is not host:port")
        nodes.append((host.strip("[]"), int(port)))
    return nodes
