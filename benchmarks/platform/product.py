"""``vasset serve`` as its users start it, with everything it starts itself, seen from outside: CPU, memory, readiness."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 30.0
WARM_SECONDS = 60.0
UNBOUNDED = {
    "VASSET_REQUESTS_PER_MINUTE": "1000000000",
    "VASSET_DAILY_LIMIT_ADMIN": "1000000000",
    "VASSET_MAX_UNFINISHED_TASKS_PER_USER": "1000000",
}
"""Nothing of a measurement is refused."""


@dataclass(frozen=True, slots=True)
class Product:
    """A running server. ``ready_seconds`` is from the start of the command to the first ``200`` of ``/readyz``."""

    process: subprocess.Popen[str]
    port: int
    ready_seconds: float
    token: str
    lags: Path

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def process_ids(self) -> list[int]:
        """The server first, then its descendants."""
        found = [self.process.pid]
        for parent in found:
            for thread in _entries(f"/proc/{parent}/task"):
                found += [int(child) for child in _read(f"/proc/{parent}/task/{thread}/children").split()]
        return found

    def cpu_seconds(self) -> float:
        """User and system time of all processes, of those that have ended too."""
        return sum(_cpu_ticks(process_id) for process_id in self.process_ids()) / TICKS

    def loop_lags(self) -> list[float]:
        """Seconds by which the event loop was late, one sample every 5 ms since the last call."""
        return lags_of(self.process, self.lags)

    def own_cpu_seconds(self) -> float:
        """The server process alone."""
        return sum(int(field) for field in _stat(self.process.pid)[11:13]) / TICKS

    def resident_mib(self) -> float:
        """The server process alone."""
        return _status_kib(self.process.pid, "VmRSS") / 1024

    def tree_mib(self) -> float:
        """Every process, shared pages counted once (proportional set size)."""
        return sum(_proportional_kib(process_id) for process_id in self.process_ids()) / 1024

    def wait_until_warm(self) -> None:
        """Until yt-dlp is loaded in the nursery: before that the first download pays for the import."""
        deadline = time.monotonic() + WARM_SECONDS
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(0.5)
            if len(self.process_ids()) > 1 and self.cpu_seconds() - before < 0.05:
                return
        raise RuntimeError("the children of the server did not become idle")


@contextmanager
def running_product(folder: Path, **settings: str) -> Iterator[Product]:
    """Start the command on a free port with its data below ``folder``; an account is signed in, at the first start the administrator's."""
    environment = {**UNBOUNDED, "VASSET_EGRESS_ALLOW": "127.0.0.1", "VASSET_LOG_LEVEL": "warning", **settings}
    lags = folder / "lags.json"
    watched = [sys.executable, "-m", "benchmarks.platform.probed", str(lags)]
    command = [*watched, "serve", "--port", "0", "--data-dir", str(folder)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            while _call(port, "GET", "/readyz")[0] != 200:
                time.sleep(0.005)
            ready_seconds = time.perf_counter() - started
            yield Product(process, port, ready_seconds, _signed_in(port), lags)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def idle_loop(folder: Path) -> Iterator[Callable[[], list[float]]]:
    """A process whose event loop has nothing to do; answers its lags as :meth:`Product.loop_lags` does."""
    lags = folder / "idle.json"
    command = [sys.executable, "-m", "benchmarks.platform.probed", str(lags), "idle"]
    with subprocess.Popen(command, text=True) as process:
        try:
            _wait_for(lags.with_suffix(".started"))
            yield lambda: lags_of(process, lags)
        finally:
            process.terminate()


def lags_of(process: subprocess.Popen[str], lags: Path) -> list[float]:
    lags.unlink(missing_ok=True)
    process.send_signal(signal.SIGUSR1)
    _wait_for(lags)
    found: list[float] = json.loads(lags.read_text())
    return found


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path.name} did not appear")
        time.sleep(0.005)


def _signed_in(port: int) -> str:
    account: dict[str, object] = {"email": "bench@example.org", "password": "correct horse 7"}
    status, answer = _call(port, "POST", "/api/v1/auth/login", account)
    if status != 200:
        _, answer = _call(port, "POST", "/api/v1/auth/register", account | {"nickname": "bench"})
    token: str = answer["data"]["access_token"]
    return token


def _call(
    port: int, method: str, path: str, body: dict[str, object] | None = None, token: str | None = None
) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def _cpu_ticks(process_id: int) -> int:
    return sum(int(field) for field in _stat(process_id)[11:15])


def _stat(process_id: int) -> list[str]:
    """The fields behind the command's name; none for a process that has just ended."""
    return _read(f"/proc/{process_id}/stat").rpartition(")")[2].split()


def _status_kib(process_id: int, name: str) -> int:
    lines = _read(f"/proc/{process_id}/status").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _proportional_kib(process_id: int) -> int:
    lines = _read(f"/proc/{process_id}/smaps_rollup").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)  # noqa: PTH208
    except OSError:
        return []
