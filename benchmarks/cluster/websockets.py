"""From ``publish`` in Redis to the client's socket, a twentieth of the clients not reading, and what a client costs the gateway."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator

from benchmarks.cluster.http import flat_out, percentile, request
from benchmarks.cluster.record import Figure
from benchmarks.cluster.running import Account, Measured
from vasset.adapters.bus.memory import MemoryBus
from vasset.adapters.bus.redis import RedisProgressBus
from vasset.adapters.redis_connection import open_redis, open_subscriber
from vasset.domain.download import Phase
from vasset.domain.progress import ProgressFrame

FRAMES_PER_SECOND = 2
STALLED_SHARE = 0.05
STAMP = b'"timestamp":'
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FIN = MASKED = 0x80


class Reader(asyncio.Protocol):
    """A WebSocket client that takes note of when each frame came, answers pings, and does nothing else."""

    transport: asyncio.Transport
    closed_for: str | None = None

    def __init__(self, hello: bytes, delays: list[float], *, stalls: bool) -> None:
        self._hello, self._delays, self._stalls = hello, delays, stalls
        self._unread = bytearray()
        self._upgraded = False
        self.snapshot: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._unread += data
        if not self._upgraded and not self._has_upgraded():
            return
        for opcode, payload in whole_frames(self._unread):
            if opcode == PING:
                self.transport.write(bytes((FIN | PONG, MASKED | len(payload), 0, 0, 0, 0)) + payload)
            elif not self.snapshot.done():
                self._take_snapshot(payload)
            elif opcode == TEXT:
                start = payload.index(STAMP) + len(STAMP)
                end = min(at for at in (payload.find(b",", start), payload.find(b"}", start)) if at >= 0)
                self._delays.append(now - float(payload[start:end]))
            elif opcode == CLOSE:
                self.closed_for = payload[2:].decode()

    def _has_upgraded(self) -> bool:
        head, found, _ = self._unread.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 101"):
            self.snapshot.set_exception(RuntimeError(f"refused: {bytes(head[:200])!r}"))
            return False
        del self._unread[: len(head) + 4]
        self._upgraded = True
        return True

    def _take_snapshot(self, payload: bytes) -> None:
        if b'"snapshot"' not in payload:
            self.snapshot.set_exception(RuntimeError(f"no snapshot but {payload[:200]!r}"))
            return
        self.snapshot.set_result(None)
        if self._stalls:
            self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.snapshot.done():
            self.snapshot.set_exception(error or ConnectionError("closed before the snapshot"))


def whole_frames(unread: bytearray) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of every frame that has come whole (RFC 6455 §5.2; servers mask nothing), taken out of ``unread``."""
    while len(unread) >= 2:
        size, start = unread[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(unread[2:start])
        if len(unread) < start + size:
            return
        opcode, payload = unread[0] & 0x0F, bytes(unread[start : start + size])
        del unread[: start + size]
        yield opcode, payload


async def measure(
    measured: Measured, accounts: list[Account], *, clients: int, rounds: int, seconds: float
) -> list[Figure]:
    runs = [await _run(measured, accounts[:clients], seconds) for _ in range(rounds)]
    what = f"WebSocket, {clients} clients x {FRAMES_PER_SECOND} frames/s, 5 % of them stalled"
    return [
        Figure(f"{what}: P50", "ms", tuple(run[0] for run in runs), 2.0, prd="< 100 ms"),
        Figure(f"{what}: P99", "ms", tuple(run[1] for run in runs), 30.0, prd="< 100 ms"),
        Figure(f"{what}: gateway memory", "KiB/client", (runs[0][2],), 64.0, note="of the first round: memory is reused later"),
        Figure(f"{what}: gateway CPU", "ms/frame", tuple(run[3] for run in runs)),
    ]  # fmt: skip


async def _run(measured: Measured, accounts: list[Account], seconds: float) -> tuple[float, float, float, float]:
    """P50 and P99 in milliseconds, KiB a client, CPU milliseconds a frame."""
    tickets = [request(account.token, "POST", "/api/v1/ws/ticket") for account in accounts]
    answers = await flat_out(measured.port, tickets, connections=4)
    before_mib = measured.resident_mib("gateway")[0]
    delays: list[float] = []
    readers = []
    for number, (_, body) in enumerate(answers):
        stalls = number < STALLED_SHARE * len(accounts)
        readers.append(await _connect(measured.port, json.loads(body)["data"]["ticket"], delays, stalls=stalls))
    url = measured.setting("CACHE_URL")
    async with RedisProgressBus(open_redis(url), open_subscriber(url), MemoryBus()) as bus:
        before = _gateway_cpu(measured)
        published = await _publish(bus, accounts, seconds)
        await asyncio.sleep(0.5)  # the last frames are on their way
        used = _gateway_cpu(measured) - before
    kib = 1024 * (measured.resident_mib("gateway")[0] - before_mib) / len(accounts)
    for reader in readers:
        reader.transport.abort()
    expected = published * (1 - STALLED_SHARE)
    if len(delays) < 0.97 * expected:
        closed = Counter(reader.closed_for for reader in readers if reader.closed_for is not None)
        raise RuntimeError(f"only {len(delays)} of {expected:.0f} frames arrived; closed by the server: {dict(closed)}")
    return 1000 * percentile(delays, 0.5), 1000 * percentile(delays, 0.99), kib, 1000 * used / published


async def _publish(bus: RedisProgressBus, accounts: list[Account], seconds: float) -> int:
    """As workers do: what is due at a tick goes in one pipeline."""
    sent, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        due = int(elapsed * FRAMES_PER_SECOND * len(accounts))
        frames = [_frame(accounts[number % len(accounts)].user_id, number) for number in range(sent, due)]
        if frames:
            await bus.publish(frames)
            sent = due
        await asyncio.sleep(0.002)
    return sent


def _frame(user_id: int, number: int) -> ProgressFrame:
    """``seq`` rises over all rounds: what an earlier round said last is remembered for minutes."""
    return ProgressFrame(
        task_id=f"{user_id:036d}", user_id=user_id, seq=time.time_ns() // 1_000, phase=Phase.DOWNLOADING, timestamp=time.time(),
        percent=50.0, downloaded_bytes=number, total_bytes=10**9, speed_bytes_per_second=1e6, eta_seconds=10.0,
    )  # fmt: skip


async def _connect(port: int, ticket: str, delays: list[float], *, stalls: bool) -> Reader:
    key = base64.b64encode(os.urandom(16)).decode()
    hello = (
        f"GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: vasset.v1, ticket.{ticket}\r\n\r\n"
    )
    link = socket.socket()
    link.setblocking(False)
    if stalls:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(link, ("127.0.0.1", port))
    _, reader = await loop.create_connection(lambda: Reader(hello.encode(), delays, stalls=stalls), sock=link)
    await asyncio.wait_for(reader.snapshot, 10)
    return reader


def _gateway_cpu(measured: Measured) -> float:
    return measured.cpu_seconds(["gateway"])
