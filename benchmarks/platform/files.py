"""CPU of the server per GB of a finished file, beside Starlette's own ``FileResponse`` in the same interleaved run."""

from __future__ import annotations

import socket
import time

from benchmarks.platform.measured_server import MeasuredServer
from benchmarks.platform.record import Figure

GIGABYTE = 1e9


def measure(server: MeasuredServer, *, rounds: int) -> list[Figure]:
    ours = f"/api/v1/download/file?history_id={server.history_id}"
    _read(server, ours)  # into the page cache
    paths = {"ours": ours, "Starlette FileResponse": "/baseline/"}
    cpu: dict[str, list[float]] = {name: [] for name in paths}
    rate: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(rounds):
        for name, path in paths.items():
            before, started = server.cpu_seconds(), time.perf_counter()
            received = _read(server, path)
            cpu[name].append((server.cpu_seconds() - before) / (received / GIGABYTE))
            rate[name].append(received / GIGABYTE / (time.perf_counter() - started))
    ratios = tuple(mine / theirs for mine, theirs in zip(cpu["ours"], cpu["Starlette FileResponse"], strict=True))
    return [
        Figure("file serving: server CPU", "s/GB", tuple(cpu["ours"]), 0.6),
        Figure("file serving, Starlette FileResponse: server CPU", "s/GB", tuple(cpu["Starlette FileResponse"])),
        Figure("file serving: CPU beside Starlette's", "ratio", ratios),
        Figure("file serving: rate of one reader", "GB/s", tuple(rate["ours"])),
    ]


def _read(server: MeasuredServer, path: str) -> int:
    """Bytes of the body, received into one buffer and dropped."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {server.token}\r\n\r\n"
        connection.sendall(head.encode())
        buffer = bytearray(1024 * 1024)
        received = connection.recv_into(buffer)
        if not buffer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path} answered {bytes(buffer[:200])!r}")
        total = received - (buffer.index(b"\r\n\r\n") + 4)
        while received := connection.recv_into(buffer):
            total += received
    return total
