"""Redis the way operators run it: alone, behind Sentinel with a replica, and as a cluster of three; real servers on loopback."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vasset.bootstrap.local_servers import RedisServer, free_port

SERVICE = "vasset"
AGREE_SECONDS = 20.0


class RedisNode(RedisServer):
    """A server with words of its own on its command line."""

    def __init__(self, folder: Path, *words: str, config: str | None = None) -> None:
        super().__init__(folder)
        self._words = words
        self._config = config

    def _launch(self) -> None:
        command: list[str | Path] = [self._program("redis-server")]
        if self._config is not None:
            path = self.folder / "server.conf"  # Sentinel writes into it what it learns
            if not path.exists():
                path.write_text(self._config)
            command.append(path)
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, *self._words]
        self._spawn(command)

    def ask(self, *words: str) -> str:
        """One command, answered as text."""
        done = subprocess.run(
            ["redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return done.stdout


@dataclass
class Sentinels:
    url: str
    master: RedisNode
    replica: RedisNode
    sentinel: RedisNode


@contextmanager
def running_sentinel(folder: Path) -> Iterator[Sentinels]:
    """One master, one replica and one Sentinel that needs nobody's agreement."""
    memory_only = ("--save", "", "--appendonly", "no")
    master = RedisNode(folder / "master", *memory_only)
    replica = RedisNode(
        folder / "replica", *memory_only, "--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0"
    )
    watch = (
        f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 1\n"
        f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 3000\n"
    )
    sentinel = RedisNode(folder / "sentinel", "--sentinel", config=watch)
    with master, replica, sentinel:
        _until(lambda: "master_link_status:up" in replica.ask("info", "replication"))
        _until(lambda: str(replica.port) in sentinel.ask("sentinel", "replicas", SERVICE))
        yield Sentinels(f"redis+sentinel://127.0.0.1:{sentinel.port}/{SERVICE}", master, replica, sentinel)


@dataclass
class RedisNodes:
    url: str
    nodes: Sequence[RedisNode]


@contextmanager
def running_redis_cluster(folder: Path, *, replicas: int = 0) -> Iterator[RedisNodes]:
    """Three masters that share the slots, each with so many replicas."""
    with contextlib.ExitStack() as stack:
        nodes = []
        for number in range(3 * (1 + replicas)):
            words = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1000")
            more = ("--save", "", "--cluster-require-full-coverage", "no")
            nodes.append(RedisNode(folder / f"node-{number}", *words, *more))
            stack.enter_context(nodes[-1])
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", str(replicas), "--cluster-yes"],
            capture_output=True,
            timeout=40,
            check=True,
        )
        _until(lambda: all("cluster_state:ok" in node.ask("cluster", "info") for node in nodes))
        if replicas:
            _until(lambda: all(_is_ready(node) for node in nodes))
        yield RedisNodes("redis+cluster://" + ",".join(addresses), nodes)


def _is_ready(node: RedisNode) -> bool:
    role = node.ask("role")
    return role.startswith("master") or "connected" in role


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + AGREE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "the Redis servers did not agree in time"
        time.sleep(0.05)
