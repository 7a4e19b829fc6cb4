"""Probes and Prometheus get plain answers from a role that speaks gRPC, and nobody can tie it up."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from vasset.bootstrap.sidecar import MAX_CONNECTIONS, Part, Sidecar
from vasset.bootstrap.sockets import listen
from vasset.domain.errors import DependencyDown


@dataclass
class Probed:
    port: int = 0
    draining: bool = False
    broken: set[str] = field(default_factory=set)

    async def check(self, name: str) -> None:
        if name in self.broken:
            raise DependencyDown(f"{name} is away")

    async def ask(self, text: str) -> tuple[int, str, bytes]:
        """Status (0: hung up), head and body, up to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(text.encode())
            head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        except ConnectionError:
            return 0, "", b""
        finally:
            await _closed(writer)
        return int(head[9:12] or 0), head.decode(), body

    async def get(self, path: str) -> tuple[int, bytes]:
        status, _, body = await self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
        return status, body


@pytest.fixture
async def probed() -> AsyncIterator[Probed]:
    state = Probed()
    parts = [
        Part("database", lambda: state.check("database")),
        Part("redis", lambda: state.check("redis"), required=False),
    ]
    with listen("127.0.0.1", 0) as listener:
        state.port = listener.getsockname()[1]
        async with Sidecar(parts, lambda: state.draining).serving(listener):
            yield state


async def test_liveness_depends_on_nobody(probed: Probed) -> None:
    probed.broken |= {"database", "redis"}
    assert (await probed.get("/healthz"))[0] == 200


async def test_readiness_names_what_is_missing_and_only_required_parts_count(probed: Probed) -> None:
    probed.broken.add("redis")
    status, body = await probed.get("/readyz")
    assert (status, json.loads(body)["data"]["parts"]) == (200, {"database": "ok", "redis": "does not answer"})
    probed.broken.add("database")
    status, body = await probed.get("/readyz?verbose=1")
    assert (status, json.loads(body)["code"]) == (503, 50301)


async def test_a_draining_role_is_not_ready(probed: Probed) -> None:
    probed.draining = True
    assert (await probed.get("/readyz"))[0] == 503


async def test_metrics_are_prometheus_text(probed: Probed) -> None:
    status, head, body = await probed.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    assert "text/plain; version=" in head
    assert b"# TYPE python_info gauge" in body


async def test_head_says_the_length_and_sends_no_body(probed: Probed) -> None:
    status, head, body = await probed.ask("HEAD /healthz HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert "Content-Length: 35" in head


@pytest.mark.parametrize(("request_line", "status"), [("POST /healthz", 405), ("GET /", 404), ("GET //metrics", 404)])
async def test_everything_else_is_refused(probed: Probed, request_line: str, status: int) -> None:
    assert (await probed.ask(f"{request_line} HTTP/1.1\r\n\r\n"))[0] == status


async def test_a_head_without_end_is_hung_up_on(probed: Probed) -> None:
    assert (await probed.ask("GET /healthz HTTP/1.1\r\nX: " + "a" * 20_000))[0] == 0
    assert (await probed.get("/healthz"))[0] == 200


async def test_many_silent_connections_are_bounded_and_end(probed: Probed) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", probed.port) for _ in range(MAX_CONNECTIONS)]
    assert (await probed.ask("GET /healthz HTTP/1.1\r\n\r\n"))[0] == 0
    for _, writer in silent:
        await _closed(writer)
    async with asyncio.timeout(10):
        while (await probed.ask("GET /healthz HTTP/1.1\r\n\r\n"))[0] != 200:
            await asyncio.sleep(0)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
