"""PostgreSQL, Redis and RabbitMQ from the system's packages, started in folders of ours on free loopback ports.

For ``vasset cluster`` and the tests. Each server is a child of this process, in its own group, and is stopped with it. Nothing
needs root once the packages are installed; as root, PostgreSQL (which refuses root) runs as the ``postgres`` user.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

START_SECONDS = 60.0
# A wake-up is held until its worker has a free slot, for as long as a recording takes; RabbitMQ's own bound is 30 minutes.
CONSUMER_TIMEOUT_MILLISECONDS = 6 * 3_600_000


class ServerMissing(RuntimeError):
    """A server's program is not installed; the message names the package."""


class ServerFailed(RuntimeError):
    """A server did not come up; the message ends with its last words."""


# Below what systems hand out to outgoing connections: one of those must not sit on the port of a role that is being restarted.
FIRST_PORT, LAST_PORT = 10_000, 32_000


def free_port() -> int:
    while True:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class LocalServer:
    """One child server. ``start`` waits until it answers; ``stop`` is orderly, ``kill`` is not."""

    name = "server"
    package = ""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder.resolve()
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._launch()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                words = self._last_words()
                self.stop()
                raise ServerFailed(f"{self.name} did not start on port {self.port}: {words}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the whole group."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        os.killpg(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)

    def _spawn(
        self, command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        with (self.folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                process_group=0,
                user=user,
            )

    def _last_words(self) -> str:
        log = self.folder / "server.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return " / ".join(lines[-3:]) or "no output"

    def _port_open(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _program(self, *candidates: str) -> str:
        for candidate in candidates:
            found = shutil.which(candidate) or next((str(path) for path in _newest_first(candidate)), None)
            if found:
                return found
        raise ServerMissing(f"{self.name} is not installed; install it with: sudo apt-get install {self.package}")


def _newest_first(pattern: str) -> Iterator[Path]:
    if pattern.startswith("/") and "*" in pattern:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)


class PostgresServer(LocalServer):
    """Durability stays on unless ``fsync`` is False (tests that do not kill it)."""

    name = "PostgreSQL"
    package = "postgresql"

    def __init__(self, folder: Path, *, port: int | None = None, fsync: bool = True) -> None:
        super().__init__(folder, port=port)
        self._fsync = fsync
        self._user = "postgres" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        return self.database_url("vasset")

    def database_url(self, database: str) -> str:
        return f"postgresql+asyncpg://vasset@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """A new empty database; answers its URL."""
        self._sql(f"CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0")
        return self.database_url(name)

    def _launch(self) -> None:
        initdb = self._program("initdb", "/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb")
        data = self.folder / "data"
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
        if not (data / "PG_VERSION").exists():
            command = [initdb, "-D", data, "-U", "vasset", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync"]
            made = subprocess.run(
                [str(part) for part in command], cwd=self.folder, user=self._user, capture_output=True, check=False
            )
            if made.returncode != 0:
                raise ServerFailed(
                    f"initdb failed: {made.stderr.decode(errors='replace')[-400:]}{self._closed_parent()}"
                )
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "fsync": "on" if self._fsync else "off",
            "synchronous_commit": "on" if self._fsync else "off",
            "log_min_messages": "warning",
        }
        options = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
        self._spawn([str(Path(initdb).with_name("postgres")), "-D", data, *options], user=self._user)

    def _closed_parent(self) -> str:
        """As root the server runs as another user, who may not be let through a folder above its own."""
        closed = [parent for parent in self.folder.parents if not parent.stat().st_mode & stat.S_IXOTH]
        if self._user is None or not closed:
            return ""
        return f" (user {self._user} may not enter {closed[-1]}: choose a --data-dir elsewhere, or chmod o+x it)"

    def _answers(self) -> bool:
        if not self._port_open():
            return False
        try:
            self._sql("SELECT 1")
        except ServerFailed:
            return False
        with contextlib.suppress(ServerFailed):  # it exists after the first start
            self.create_database("vasset")
        return True

    def _sql(self, statement: str) -> None:
        psql = self._program("psql", "/usr/lib/postgresql/*/bin/psql")
        command = [psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "vasset", "-d", "postgres", "-qAtc", statement]
        done = subprocess.run(command, capture_output=True, check=False, timeout=30)
        if done.returncode != 0:
            raise ServerFailed(done.stderr.decode(errors="replace").strip())

    def stop(self) -> None:
        self._end(signal.SIGINT)  # "fast": rolls back what runs, instead of waiting for clients

    def kill(self) -> None:
        """Backends too: each leads a group of its own, and one that outlived its server would write beside the next one."""
        super().pause()  # no more are born while they are counted
        backends = self._backends()
        super().kill()
        self._signal(backends, signal.SIGKILL)
        psutil.wait_procs(backends, timeout=20)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def pause(self) -> None:
        super().pause()
        self._signal(self._backends(), signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(self._backends(), signal.SIGCONT)
        super().go_on()

    def _backends(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    @staticmethod
    def _signal(processes: Sequence[psutil.Process], how: signal.Signals) -> None:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)


class RedisServer(LocalServer):
    name = "Redis"
    package = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _launch(self) -> None:
        program = self._program("redis-server")
        self._spawn(
            [program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
             "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "allkeys-lru"]
        )  # fmt: skip

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")
        return False


class RabbitServer(LocalServer):
    """One broker with its own Erlang port mapper, which outlives the node unless it is ended too."""

    name = "RabbitMQ"
    package = "rabbitmq-server"

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        super().__init__(folder, port=port)
        self._mapper_port, self._distribution_port = free_port(), free_port()
        self._node = f"vasset{self.port}@localhost"
        self._cookie = secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }

    def _launch(self) -> None:
        program = self._program(
            "/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server", "rabbitmq-server"
        )
        cookie = self.folder / ".erlang.cookie"
        if cookie.exists():
            self._cookie = cookie.read_text()
        else:
            cookie.write_text(self._cookie)
            cookie.chmod(0o400)
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\nloopback_users = none\nvm_memory_high_watermark.absolute = 1GiB\n"
            "disk_free_limit.absolute = 50MB\nlog.file.level = warning\nlog.console = false\n"
            f"consumer_timeout = {CONSUMER_TIMEOUT_MILLISECONDS}\n"
        )
        self._spawn([program], environment=self._environment)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
            link.settimeout(2)
            link.sendall(b"AMQP\x00\x00\x09\x01")
            return len(link.recv(8)) == 8
        return False

    def _end(self, how: signal.Signals) -> None:
        super()._end(how)
        with contextlib.suppress(ServerMissing, OSError, subprocess.TimeoutExpired):
            subprocess.run(
                [self._program("epmd", "/usr/lib/erlang/erts-*/bin/epmd"), "-port", str(self._mapper_port), "-kill"],
                env={**os.environ, **self._environment},
                capture_output=True,
                timeout=10,
                check=False,
            )


def start_all(servers: Sequence[LocalServer]) -> Callable[[], None]:
    """Start in order; answers what stops them in reverse. If one fails, those before it are stopped."""
    stack = contextlib.ExitStack()
    with stack:
        for server in servers:
            stack.enter_context(server)
        keep = stack.pop_all()
    return keep.close
