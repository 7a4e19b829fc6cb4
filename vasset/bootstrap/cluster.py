"""``vasset cluster``: PostgreSQL, Redis, RabbitMQ and the five services on this machine, on free ports, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vasset.bootstrap.local_servers import (
    LocalServer,
    PostgresServer,
    RabbitServer,
    RedisServer,
    ServerFailed,
    free_port,
    start_all,
)

START_SECONDS = 60.0
STOP_SECONDS = 30.0
OPERATORS_NEED = ("VASSET_SERVICE_TOKEN", "VASSET_DATABASE_URL", "VASSET_DATA_DIR")


@dataclass(slots=True)
class Role:
    """One service as a child process; ``url`` answers ``/readyz``."""

    name: str
    url: str
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kind = self.name.partition("-")[0]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vasset.cli", kind],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                # Ctrl-C reaches us alone; we stop the children in order. Not a session of their own: Linux gives each session
                # an equal share (sched_autogroup), whatever the niceness of its processes.
                process_group=0,
            )

    def wait_ready(self, deadline: float) -> None:
        """Raises ``ServerFailed`` with the role's last words."""
        while not answers(self.url + "/readyz"):
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                words = " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])
                raise ServerFailed(f"{self.name} did not become ready: {words}")
            time.sleep(0.05)

    def signal(self, how: signal.Signals) -> None:
        """To the role's whole group for SIGKILL and SIGSTOP, to the role alone for a drain."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if how is signal.SIGTERM:
                self.process.terminate()
            else:
                os.killpg(self.process.pid, how)

    def wait(self) -> int | None:
        """Until it ended, by force if need be; answers the exit code, or None when it did not run."""
        process, self.process = self.process, None
        if process is None:
            return None
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return process.returncode


@dataclass(frozen=True, slots=True)
class Servers:
    """What the services stand on."""

    postgres: PostgresServer
    redis: RedisServer
    rabbit: RabbitServer


@dataclass(slots=True)
class Cluster:
    """Start with ``with``; ``url`` is the gateway's. ``workers`` and ``gateways`` say how many of each run.

    ``reach`` answers the URL by which the roles reach a server: tests put a proxy in between.
    ``servers`` that somebody else started are used and left running; without them the cluster starts and stops its own.
    """

    folder: Path
    port: int = 0
    workers: int = 1
    gateways: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    fsync: bool = True
    reach: Callable[[LocalServer], str] = lambda server: server.url
    servers: Servers | None = None
    postgres: PostgresServer = field(init=False)
    redis: RedisServer = field(init=False)
    rabbit: RabbitServer = field(init=False)
    roles: dict[str, Role] = field(init=False, default_factory=dict)
    _stack: contextlib.ExitStack = field(init=False, default_factory=contextlib.ExitStack)

    def __enter__(self) -> Cluster:
        self.folder = self.folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        servers = self.servers or Servers(
            PostgresServer(self.folder / "postgresql", fsync=self.fsync),
            RedisServer(self.folder / "redis"),
            RabbitServer(self.folder / "rabbitmq"),
        )
        self.postgres, self.redis, self.rabbit = servers.postgres, servers.redis, servers.rabbit
        with contextlib.ExitStack() as stack:
            if self.servers is None:
                stack.callback(start_all([self.postgres, self.redis, self.rabbit]))
            self._make_roles()
            if not self.operators_file.exists():
                self._make_schema()
            self._write_operators_file()
            stack.callback(self._stop_roles)
            for role in self.roles.values():
                role.start()
            deadline = time.monotonic() + START_SECONDS
            for role in self.roles.values():
                role.wait_ready(deadline)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return self.roles["gateway"].url

    @property
    def operators_file(self) -> Path:
        """What ``vasset workers``, ``dlq`` and ``doctor`` need to reach this cluster, to be sourced by a shell."""
        return self.folder / "operators.env"

    def restart(self, name: str) -> None:
        """Start a role again after it was killed, and wait until it is ready."""
        role = self.roles[name]
        role.wait()
        role.start()
        role.wait_ready(time.monotonic() + START_SECONDS)

    def _make_roles(self) -> None:
        ports = {name: free_port() for name in ("auth", "parser", "asset")}
        shared = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "VASSET_DATA_DIR": str(self.folder / "files"),
            "VASSET_DATABASE_URL": self.reach(self.postgres),
            "VASSET_QUEUE_URL": self.reach(self.rabbit),
            "VASSET_CACHE_URL": self.reach(self.redis),
            "VASSET_SECRET_KEY": self._kept_secret("secret-key"),
            "VASSET_SERVICE_TOKEN": self._kept_secret("service-token"),
            **{f"VASSET_{name.upper()}_ADDRESS": f"127.0.0.1:{port}" for name, port in ports.items()},
            **self.environment,
        }
        (self.folder / "files").mkdir(exist_ok=True)
        for name, port in ports.items():
            self._add(name, free_port(), {**shared, "VASSET_SERVICE_PORT": str(port)}, grpc=True)
        for number in range(self.workers):
            port = free_port()
            name = "downloader" if number == 0 else f"downloader-{number + 1}"
            self._add(name, free_port(), {**shared, "VASSET_SERVICE_PORT": str(port)}, grpc=True)
            if number == 0:
                shared["VASSET_DOWNLOADER_ADDRESS"] = f"127.0.0.1:{port}"
        for number in range(self.gateways):
            name = "gateway" if number == 0 else f"gateway-{number + 1}"
            port = self.port if number == 0 and self.port else free_port()
            self._add(name, port, {**shared, "VASSET_PORT": str(port)}, grpc=False)

    def _make_schema(self) -> None:
        """Once for a new folder; else every service would find the database empty and start a child for it."""
        child = [sys.executable, "-m", "vasset.cli", "migrate"]
        environment = dict(self.roles["asset"].environment)
        done = subprocess.run(
            child, env=environment, capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
        if done.returncode != 0:
            raise ServerFailed(f"the schema could not be made: {done.stderr.strip()}")

    def _add(self, name: str, http_port: int, environment: dict[str, str], *, grpc: bool) -> None:
        if grpc:
            environment["VASSET_METRICS_PORT"] = str(http_port)
        self.roles[name] = Role(name, f"http://127.0.0.1:{http_port}", environment, self.folder / f"{name}.log")

    def _write_operators_file(self) -> None:
        workers = [role for name, role in self.roles.items() if name.startswith("downloader")]
        addresses = [f"127.0.0.1:{role.environment['VASSET_SERVICE_PORT']}" for role in workers]
        known = {name: value for name, value in workers[0].environment.items() if name in OPERATORS_NEED}
        known["VASSET_DOWNLOADER_ADDRESS"] = ",".join(addresses)
        self.operators_file.touch(mode=0o600)
        self.operators_file.write_text(
            "".join(f"export {name}={shlex.quote(value)}\n" for name, value in known.items())
        )

    def _kept_secret(self, name: str) -> str:
        """Made once per folder, so that people stay signed in across restarts."""
        path = self.folder / name
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path.read_text()

    def _stop_roles(self) -> None:
        order: Sequence[Role] = list(reversed(self.roles.values()))
        for role in order:
            role.signal(signal.SIGCONT)
            role.signal(signal.SIGTERM)
        for role in order:
            role.wait()


def run_cluster(data_dir: Path, port: int, workers: int) -> int:
    """Start everything, say where, and stop it on Ctrl-C or SIGTERM."""
    stop_requested = False

    def stop(*_: object) -> None:
        nonlocal stop_requested
        stop_requested = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    sys.stdout.write("Starting PostgreSQL, Redis, RabbitMQ and five services (about 15 s)\n")
    sys.stdout.flush()
    with Cluster(data_dir, port=port, workers=workers) as cluster:
        sys.stdout.write(
            f"V-Asset cluster is ready on {cluster.url} (logs in {cluster.folder}); Ctrl-C stops all of it\n"
            f"Operators: . {cluster.operators_file} && vasset workers list\n"
        )
        sys.stdout.flush()
        while not stop_requested:
            for role in cluster.roles.values():
                if role.process is not None and role.process.poll() is not None:
                    sys.stderr.write(f"{role.name} ended by itself; starting it again (its log: {role.log})\n")
                    cluster.restart(role.name)
            time.sleep(0.2)
        sys.stdout.write("Stopping\n")
        sys.stdout.flush()
    return 0


def answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
