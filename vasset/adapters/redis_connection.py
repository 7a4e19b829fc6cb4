"""Opens Redis by URL: one server, Sentinel, or a cluster. Timeouts are short: Redis may only ever cost latency here.

``redis://`` ``rediss://`` ``redis+sentinel://[:password@]host:port,host:port/service[/db]`` ``redis+cluster://[:password@]host:port,host:port``
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

TIMEOUT_SECONDS = 1.0


def open_redis(url: str) -> Redis | RedisCluster:
    """A lazy client: nothing connects before the first command. Raises ``ValueError`` for a URL of another kind."""
    parts = urlsplit(url)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 1)
        )
    nodes = _nodes(parts.netloc)
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "redis+sentinel":
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("a redis+sentinel URL ends with the service name: redis+sentinel://host:26379/mymaster")
        sentinel = Sentinel(nodes, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)  # type: ignore[no-untyped-call]
        master: Redis = sentinel.master_for(
            service,
            password=password,
            db=int(database or 0),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        return master
    if parts.scheme == "redis+cluster":
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            password=password,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
    raise ValueError(f"VASSET_CACHE_URL has the unknown scheme {parts.scheme!r}; use memory:, redis:, rediss:, "
                     "redis+sentinel: or redis+cluster:")  # fmt: skip


def open_subscriber(url: str) -> Redis:
    """A client for Pub/Sub, which has no read timeout: silence is normal. A cluster relays messages through any node."""
    parts = urlsplit(url)
    if parts.scheme == "redis+cluster":
        host, port = _nodes(parts.netloc)[0]
        password = unquote(parts.password) if parts.password else None
        return Redis(
            host=host,
            port=port,
            password=password,
            socket_timeout=None,
            socket_connect_timeout=TIMEOUT_SECONDS,
            health_check_interval=10,
        )
    if parts.scheme == "redis+sentinel":
        client = open_redis(url)
        if not isinstance(client, Redis):
            raise TypeError("a Sentinel URL opened a cluster client")
        client.connection_pool.connection_kwargs.update(socket_timeout=None, health_check_interval=10)
        return client
    return Redis.from_url(url, socket_timeout=None, socket_connect_timeout=TIMEOUT_SECONDS, health_check_interval=10)


def _nodes(netloc: str) -> list[tuple[str, int]]:
    addresses = netloc.rpartition("@")[2].split(",")
    nodes = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{address!r} is not host:port")
        nodes.append((host.strip("[]"), int(port)))
    return nodes
