"""The same product over real servers: five services on PostgreSQL, Redis and RabbitMQ, killed one after the other."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.support.api_client import ApiClient, api_client
from tests.support.origin import Origin
from tests.support.processes import run_vasset
from tests.support.prometheus import scrape
from tests.support.server_folder import server_folder
from vasset.bootstrap.cluster import Cluster
from vasset.bootstrap.local_servers import LocalServer

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]


@dataclass
class Running:
    cluster: Cluster
    user: ApiClient

    def environment(self) -> dict[str, str]:
        """Settings of a role, without the prefix, as ``run_vasset`` takes them."""
        environment = self.cluster.roles["downloader"].environment
        return {name[7:].lower(): value for name, value in environment.items() if name.startswith("VASSET_")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(origin: Origin) -> AsyncIterator[Running]:
    settings = {
        "VASSET_EGRESS_ALLOW": origin.address,
        "VASSET_BCRYPT_COST": "4",
        "VASSET_LEASE_SECONDS": "4",
        "VASSET_HEARTBEAT_SECONDS": "1",
        "VASSET_LOG_FORMAT": "json",
    }
    with server_folder("cluster") as folder:
        cluster = Cluster(folder, environment=settings, fsync=False)
        await asyncio.to_thread(cluster.__enter__)
        try:
            async with api_client(cluster.url) as client:
                yield Running(cluster, await client.register("ann@example.test"))
            state = Running(cluster, client).environment()
            code, out, err = await run_vasset("doctor", **state)
            assert code == 0, f"doctor found:\n{out}\n{err}"
        finally:
            await asyncio.to_thread(cluster.__exit__)


async def test_a_link_becomes_a_file(running: Running, origin: Origin) -> None:
    task, body = await running.user.completed(origin.url("progressive.mp4"), quality="best", format="original")
    assert body == (origin.media.folder / "progressive.mp4").read_bytes()
    assert task["percent"] == 100.0
    page = (await running.user.call("GET", "/api/v1/history")).data
    assert page["items"][0]["file_hash"]


async def test_the_asset_service_reports_how_much_of_the_quota_is_used(running: Running, origin: Origin) -> None:
    await running.user.submit(origin.url("progressive.mp4"), quality="best", format="original")
    async with asyncio.timeout(30):  # it is sampled
        while (await scrape(running.cluster.roles["asset"].url)).total("user_quota_usage") == 0:
            await asyncio.sleep(0.2)


async def test_a_killed_worker_loses_no_task(running: Running, origin: Origin) -> None:
    accepted = await running.user.submit(origin.url("progressive.mp4", slow=True), quality="best", format="original")
    await running.user.reached(accepted["task_id"], {"downloading"})
    running.cluster.roles["downloader"].signal(signal.SIGKILL)
    await asyncio.to_thread(running.cluster.restart, "downloader")
    task = await running.user.ended(accepted["task_id"], timeout_seconds=90)
    assert task["status"] == "completed", task
    assert (await running.user.file(accepted["history_id"])).body == (
        origin.media.folder / "progressive.mp4"
    ).read_bytes()


async def test_downloads_are_accepted_while_the_broker_is_away(running: Running, origin: Origin) -> None:
    await asyncio.to_thread(running.cluster.rabbit.kill)
    try:
        accepted = await running.user.submit(origin.url("progressive.mp4"), quality="best", format="original")
        task = await running.user.ended(accepted["task_id"], timeout_seconds=60)
        assert task["status"] == "completed", task
    finally:
        await asyncio.to_thread(running.cluster.rabbit.start)


async def test_redis_wiped_and_away_costs_latency_only(running: Running, origin: Origin) -> None:
    await asyncio.to_thread(running.cluster.redis.kill)
    try:
        task, _ = await running.user.completed(origin.url("progressive.mp4"), quality="best", format="original")
        assert task["status"] == "completed"
    finally:
        await asyncio.to_thread(running.cluster.redis.start)


async def test_people_who_are_signed_in_go_on_while_auth_is_away(running: Running) -> None:
    running.cluster.roles["auth"].signal(signal.SIGKILL)
    try:
        assert (await running.user.call("GET", "/api/v1/quota")).status == 200
        body = {"email": "ann@example.test", "password": "correct horse 7"}
        refused = await running.user.call("POST", "/api/v1/auth/login", json=body)
        assert refused.status == 503
        assert "Retry-After" in refused.headers
    finally:
        await asyncio.to_thread(running.cluster.restart, "auth")


async def test_a_missing_asset_service_is_said_and_the_rest_works(running: Running) -> None:
    running.cluster.roles["asset"].signal(signal.SIGKILL)
    try:
        assert (await running.user.call("GET", "/api/v1/quota")).status == 503
        assert (await running.user.call("GET", "/api/v1/downloads")).status == 200
        assert (await running.user.call("GET", "/readyz")).status == 200
    finally:
        await asyncio.to_thread(running.cluster.restart, "asset")


async def test_postgresql_away_is_503_and_recovers_by_itself(running: Running) -> None:
    await asyncio.to_thread(running.cluster.postgres.kill)
    try:
        answer = await running.user.call("GET", "/api/v1/downloads")
        assert answer.status == 503
        assert "Retry-After" in answer.headers
        assert (await running.user.call("GET", "/healthz")).status == 200
    finally:
        await asyncio.to_thread(running.cluster.postgres.start)
    async with asyncio.timeout(30):
        while (await running.user.call("GET", "/api/v1/downloads")).status != 200:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("server", "accepting"), [("rabbit", 202), ("redis", 202), ("postgres", 503)])
async def test_a_server_that_hangs_degrades_and_never_lies(
    running: Running, origin: Origin, server: str, accepting: int
) -> None:
    """SIGSTOP: the port is open and nobody answers (P26)."""
    hung: LocalServer = getattr(running.cluster, server)
    hung.pause()
    try:
        answer = await running.user.call("POST", "/api/v1/download", json={"url": origin.url("progressive.mp4")})
        assert answer.status == accepting, answer.json
        assert accepting == 202 or "Retry-After" in answer.headers
        assert (await running.user.call("GET", "/healthz")).status == 200, "a restart would help nobody"
        ready = (await running.user.call("GET", "/readyz")).status
        assert ready == (200 if accepting == 202 else 503)
    finally:
        hung.go_on()
    if accepting == 202:
        assert (await running.user.ended(answer.data["task_id"], timeout_seconds=90))["status"] == "completed"
    async with asyncio.timeout(30):
        while (await running.user.call("GET", "/readyz")).status != 200:
            await asyncio.sleep(0.1)


async def test_operators_see_workers_and_dead_letters(running: Running, origin: Origin) -> None:
    settings = running.environment() | {"downloader_address": f"127.0.0.1:{running.environment()['service_port']}"}
    code, out, err = await run_vasset("workers", "resize", "7", **settings)
    assert (code, err) == (0, "")
    assert "running of 7" in out
    lost = await running.user.submit(origin.url("no-such-file.mp4"), quality="best", format="original")
    assert (await running.user.ended(lost["task_id"], timeout_seconds=90))["status"] == "failed"
    code, out, _ = await run_vasset("dlq", "list", **settings)
    assert code == 0
    assert lost["task_id"] in out
    code, out, _ = await run_vasset("dlq", "purge", lost["task_id"], **settings)
    assert (code, out.strip()) == (0, "1 purged")
