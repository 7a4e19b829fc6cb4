"""What people are told while one part of the services is away: the table of docs/failures.md, measured with kill -9."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.support.api_client import PASSWORD
from tests.support.origin import Origin
from tests.support.running_services import Running

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]
LOGIN = {"email": "ann@example.test", "password": PASSWORD}


@dataclass(frozen=True)
class Away:
    """``refused``: calls that say so, with their words; ``served``: calls that go on; ``downloads``: whether one completes."""

    refused: dict[tuple[str, str], str]
    served: tuple[tuple[str, str], ...]
    downloads: bool = True
    ready: bool = True
    unready_part: str | None = None


TABLE = {
    "auth": Away(
        refused={("POST", "/api/v1/auth/login"): "The auth service does not answer", ("POST", "/api/v1/auth/logout"): "The auth service does not answer"},
        served=(("GET", "/api/v1/quota"), ("GET", "/api/v1/downloads"), ("POST", "/api/v1/ws/ticket")),
    ),
    "parser": Away(
        refused={("POST", "/api/v1/parse"): "The parser service does not answer"},
        served=(("GET", "/api/v1/quota"), ("GET", "/api/v1/downloads"), ("POST", "/api/v1/auth/login")),
    ),
    "asset": Away(
        refused={
            ("GET", "/api/v1/quota"): "The asset service does not answer",
            ("GET", "/api/v1/history"): "The asset service does not answer",
            ("GET", "/api/v1/stats"): "The asset service does not answer",
            ("GET", "/api/v1/download/file?history_id=1"): "The asset service does not answer",
        },
        served=(("GET", "/api/v1/downloads"), ("POST", "/api/v1/auth/login")),
        downloads=False,  # it completes, but its file is looked up by the asset service
    ),
    "redis": Away(
        refused={("POST", "/api/v1/ws/ticket"): "Redis does not answer"},
        served=(("GET", "/api/v1/quota"), ("GET", "/api/v1/downloads"), ("POST", "/api/v1/auth/login"), ("POST", "/api/v1/parse")),
        unready_part="redis",
    ),
    "rabbitmq": Away(
        refused={},
        served=(("GET", "/api/v1/quota"), ("GET", "/api/v1/downloads"), ("POST", "/api/v1/auth/login"), ("POST", "/api/v1/parse")),
        unready_part="rabbitmq",
    ),
    "postgresql": Away(
        refused={
            ("GET", "/api/v1/downloads"): "the database did not answer",
            ("POST", "/api/v1/download"): "the database did not answer",
            ("GET", "/api/v1/quota"): "the database did not answer",
            ("POST", "/api/v1/auth/login"): "the database did not answer",
        },
        served=(),
        downloads=False,
        ready=False,
        unready_part="database",
    ),
}  # fmt: skip


def body(path: str, origin: Origin) -> dict[str, Any]:
    url = origin.url("progressive.mp4")
    bodies = {
        "/api/v1/auth/login": LOGIN,
        "/api/v1/parse": {"url": url},
        "/api/v1/download": {"url": url, "format": "original"},
    }
    return {"json": bodies[path]} if path in bodies else {}


@pytest.mark.parametrize("part", TABLE)
async def test_what_people_see_while_a_part_is_away(running: Running, origin: Origin, part: str) -> None:
    away = TABLE[part]
    assert (await running.user.call("GET", "/api/v1/quota")).status == 200
    async with running.without(part):
        for (method, path), words in away.refused.items():
            answer = await running.user.call(method, path, **body(path, origin))
            assert (answer.status, answer.json["code"]) == (503, 50302), (path, answer.json)
            assert words in answer.json["message"], path
            assert answer.json["retryable"] is True
            assert 1 <= int(answer.headers["Retry-After"]) <= 5
        for method, path in away.served:
            answer = await running.user.call(method, path, **body(path, origin))
            assert answer.status == 200, (path, answer.json)
        if away.downloads:
            await running.user.completed(origin.url("progressive.mp4"), format="original")
        ready = await running.user.call("GET", "/readyz")
        assert ready.status == (200 if away.ready else 503), ready.json
        said = ready.json["data"]["parts"]
        assert {name for name, words in said.items() if words != "ok"} == ({away.unready_part} - {None})
        await everybody_lives(running, except_for=part)
    async with asyncio.timeout(60):
        while not await works_again(running, origin):
            await asyncio.sleep(0.1)


async def everybody_lives(running: Running, *, except_for: str) -> None:
    """Liveness asks nobody else: otherwise one dead server would restart everything."""
    async with aiohttp.ClientSession() as session:
        for name, role in running.cluster.roles.items():
            if name != except_for:
                async with session.get(f"{role.url}/healthz") as answer:
                    assert answer.status == 200, name


async def works_again(running: Running, origin: Origin) -> bool:
    answers = [
        await running.user.call("POST", "/api/v1/auth/login", json=LOGIN),
        await running.user.call("POST", "/api/v1/parse", json={"url": origin.url("progressive.mp4")}),
        await running.user.call("GET", "/api/v1/quota"),
        await running.user.call("POST", "/api/v1/ws/ticket"),
    ]
    ready = await running.user.call("GET", "/readyz")
    return all(answer.status == 200 for answer in [*answers, ready]) and all(
        words == "ok" for words in ready.data["parts"].values()
    )
