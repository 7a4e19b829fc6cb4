"""What strangers, mistakes and wrong clocks do to the running services: an answer in words, nothing lost, no hot loop."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import aio_pika
import grpc
import psutil
import pytest

from tests.support.api_client import PASSWORD
from tests.support.origin import Origin
from tests.support.running_services import Running
from vasset.adapters.queue import topology
from vasset.adapters.queue.rabbitmq import RabbitQueue

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
]

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


def download(origin: Origin, *, slow: bool = False) -> dict[str, str]:
    return {"url": origin.url("progressive.mp4", slow=slow), "format": "original"}


# --- the queue ---


async def test_forged_messages_change_nothing_and_malformed_ones_are_put_aside(
    running: Running, origin: Origin
) -> None:
    done, content = await running.user.completed(**download(origin))
    forged: list[bytes] = [
        b'{"task_id":"%s","url":"http://169.254.169.254/","user_id":1}' % done["task_id"].encode(),
        b'{"task_id":"%s"}' % str(uuid.uuid4()).encode(),
        b'{"task_id":"%s","attempt":-1,"not_before":1e308}' % done["task_id"].encode(),
    ]
    malformed = [b"", b"\xff\xfe", b"null", b"[" * 50_000, b'{"task_id":7}', b" " * (5 * 2**20)]
    queue = RabbitQueue(running.cluster.rabbit.url)
    await queue.remove_dead(None)
    connection: Any = await aio_pika.connect(running.cluster.rabbit.url)
    async with connection, connection.channel() as channel:
        exchange = await channel.get_exchange(topology.EXCHANGE)
        for body in [*forged * 100, *malformed]:
            message = aio_pika.Message(body, headers={"x-death": "forged", "x" * 200: "y" * 10_000}, priority=255)
            await exchange.publish(message, "download.quick")
    task, _ = await running.user.completed(**download(origin))
    assert task["attempt"] == 1
    removed = 0
    async with asyncio.timeout(30):
        while removed < len(malformed) or await queue.depth() != 0:
            removed += await queue.remove_dead(None)
            await asyncio.sleep(0.05)
    assert removed == len(malformed)
    await queue.close()
    again = await running.user.task(done["task_id"])
    assert {name: again[name] for name in ("status", "url", "attempt")} == {
        name: done[name] for name in ("status", "url", "attempt")
    }
    assert (await running.user.file(done["history_id"])).body == content
    problems = [line for line in logs(running, "downloader") if "malformed message dead-lettered" in line]
    assert len(problems) == len(malformed)
    assert not any("169.254" in line for line in problems)


def logs(running: Running, role: str) -> list[str]:
    return [
        line
        for name, one in running.cluster.roles.items()
        if name.startswith(role)
        for line in one.log.read_text(errors="replace").splitlines()
    ]


# --- gRPC ---

METHODS = {
    "auth": "/vasset.v1.AuthService/ValidateCredentials",
    "parser": "/vasset.v1.ParserService/ParseURL",
    "downloader": "/vasset.v1.DownloaderService/GetTask",
    "asset": "/vasset.v1.AssetService/ListHistory",
}


@pytest.mark.parametrize("role", METHODS)
async def test_every_service_answers_bad_calls_in_words_and_goes_on(running: Running, role: str) -> None:
    ours = ("vasset-service-token", running.token)
    user = (("vasset-user-id", "1"), ("vasset-role", "0"), ("vasset-session-id", "1"))
    bad: list[tuple[str, bytes, tuple[tuple[str, str], ...], float, set[str]]] = [
        (
            "bad UTF-8",
            (b"\x1a" if role == "asset" else b"\x0a") + b"\x02\xff\xfe",  # the first text of its message
            (ours, *user),
            10,
            {"INVALID_ARGUMENT"},
        ),
        ("cut off", b"\x0a\xff\xff\xff\x07", (ours, *user), 10, {"INVALID_ARGUMENT"}),
        ("oversized", b"\x0a" + b"\x80\x80\x80\x03" + b"x" * (6 * 2**20), (ours, *user), 10, {"RESOURCE_EXHAUSTED"}),
        ("no token", b"", user, 10, {"UNAUTHENTICATED"}),
        ("another token", b"", (("vasset-service-token", "x" * 64), *user), 10, {"UNAUTHENTICATED"}),
        ("expired", b"", (ours, *user), -1.0, {"DEADLINE_EXCEEDED"}),
    ]
    async with grpc.aio.insecure_channel(running.address(role), options=[("grpc.enable_http_proxy", 0)]) as channel:
        call: Any = channel.unary_unary(METHODS[role])
        for what, body, metadata, seconds, expected in bad:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(body, metadata=metadata, timeout=seconds)
            assert caught.value.code().name in expected, (what, caught.value)
            assert caught.value.details(), what
        unknown: Any = channel.unary_unary(METHODS[role] + "Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unknown(b"", metadata=(ours,), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "Traceback" not in "\n".join(logs(running, role))


async def test_a_gateway_with_another_service_token_blames_itself_and_not_its_users(running: Running) -> None:
    async with running.changed(gateway={"VASSET_SERVICE_TOKEN": "x" * 64}):
        refused = await running.user.call("GET", "/api/v1/quota")
        assert (refused.status, refused.json["reason"]) == (503, "service_token_refused"), refused.json
        assert "VASSET_SERVICE_TOKEN" in refused.json["message"]
        login = {"email": "ann@example.test", "password": PASSWORD}
        assert (await running.user.call("POST", "/api/v1/auth/login", json=login)).status == 503
        assert (await running.user.call("GET", "/api/v1/downloads")).status == 200
    assert (await running.user.call("GET", "/api/v1/quota")).status == 200


# --- clocks ---


def shifted(hours: int) -> dict[str, str]:
    """A process whose wall clock is wrong; a real one, because the engine and yt-dlp have clocks of their own."""
    assert FAKETIME is not None
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{hours:+d}h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed (apt-get install faketime)")
@pytest.mark.parametrize("hours", [1, -1])
async def test_a_workers_clock_an_hour_off_delays_nothing(running: Running, origin: Origin, hours: int) -> None:
    async with running.changed(**{"downloader": shifted(hours), "downloader-2": shifted(hours)}):
        task, _ = await running.user.completed(**download(origin))
        assert task["attempt"] == 1
        started = time.monotonic()
        gone = await running.user.submit(f"http://{origin.address}/nowhere/x.mp4", format="original")
        assert (await running.user.ended(gone["task_id"]))["status"] == "failed"
        assert time.monotonic() - started < 45, "a retry waited by the worker's clock"


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed (apt-get install faketime)")
async def test_clocks_of_gateway_and_auth_an_hour_apart(running: Running, origin: Origin) -> None:
    """Ahead, the gateway believes tokens until they end an hour early; behind, it names the clocks."""
    login = {"email": "ann@example.test", "password": PASSWORD}
    async with running.changed(gateway=shifted(1)):
        signed_in = await running.user.login("ann@example.test")
        task, _ = await signed_in.completed(**download(origin))
        assert task["status"] == "completed"
    async with running.changed(gateway=shifted(-1)):
        answer = await running.user.call("POST", "/api/v1/auth/login", json=login)
        headers = {"Authorization": f"Bearer {answer.data['access_token']}"}
        refused = await running.user.call("GET", "/api/v1/quota", headers=headers)
        assert (refused.status, refused.json["code"]) == (401, 40101)
        assert "clocks" in refused.json["message"]
    assert (await running.user.call("GET", "/api/v1/quota")).status == 200


# --- credentials of the servers ---


async def test_wrong_credentials_for_broker_and_cache_cost_latency_only(running: Running, origin: Origin) -> None:
    """Both are disposable: downloads run, readiness names the part, and nobody tries in a tight loop."""
    wrong = {
        "VASSET_QUEUE_URL": running.cluster.rabbit.url.replace("guest:guest", "guest:wrong"),
        "VASSET_CACHE_URL": running.cluster.redis.url.replace("redis://", "redis://somebody:wrong@"),
    }
    names = ("gateway", "downloader", "downloader-2")
    async with running.changed(**dict.fromkeys(names, wrong)):
        busy = {name: spent(running, name) for name in names}
        started = time.monotonic()
        for _ in range(2):
            await running.user.completed(**download(origin))
        ready = await running.user.call("GET", "/readyz")
        assert ready.status == 200
        assert (ready.data["parts"]["database"], ready.data["parts"]["rabbitmq"] == "ok") == ("ok", False)
        assert ready.data["parts"]["redis"] != "ok"
        for _ in range(3):  # a few turns of every reconnecting loop
            await running.user.completed(**download(origin))
        wall = time.monotonic() - started
        for name in ("gateway", "downloader-2"):
            assert (spent(running, name) - busy[name]) / wall < 0.6, f"{name} spins"


def spent(running: Running, name: str) -> float:
    """CPU seconds of one process so far, without its children."""
    process = running.cluster.roles[name].process
    assert process is not None
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


# --- files on the workers' own disks ---


async def test_files_are_streamed_from_the_worker_that_has_them(
    running: Running, origin: Origin, tmp_path_factory: pytest.TempPathFactory
) -> None:
    workers = ("downloader", "downloader-2")
    folders = {name: tmp_path_factory.mktemp(name) for name in workers}
    own = {
        name: {
            "VASSET_DATA_DIR": str(folder),
            "VASSET_WORKER_ADDRESS": running.address(name),
            "VASSET_WORKER_SLOTS": "1",
        }
        for name, folder in folders.items()
    }
    content = origin.media.read("progressive.mp4")
    async with running.changed(**own):
        accepted = [await running.user.submit(**download(origin, slow=True)) for _ in range(2)]
        for one in accepted:
            assert (await running.user.ended(one["task_id"], timeout_seconds=120))["status"] == "completed"
        lies = {
            name: [path for path in folder.rglob("*.mp4") if ".work-" not in str(path)]
            for name, folder in folders.items()
        }
        assert {name: len(found) for name, found in lies.items()} == dict.fromkeys(workers, 1), (
            "one file on each worker"
        )
        stranger = await running.user.register(f"{uuid.uuid4().hex[:8]}@example.test")
        for one in accepted:
            whole = await running.user.file(one["history_id"])
            assert (whole.status, whole.body) == (200, content)
            part = await running.user.file(one["history_id"], Range="bytes=1000-1999")
            assert (part.status, part.body) == (206, content[1000:2000])
            assert part.headers["Content-Range"] == f"bytes 1000-1999/{len(content)}"
            head = await running.user.call("HEAD", f"/api/v1/download/file?history_id={one['history_id']}")
            assert (head.status, head.headers["Content-Length"]) == (200, str(len(content)))
            beyond = await running.user.file(one["history_id"], Range=f"bytes={len(content)}-")
            assert beyond.status == 416
            assert (await stranger.file(one["history_id"])).status == 404
        running.cluster.roles["downloader-2"].signal(signal.SIGKILL)
        answers = [await running.user.file(one["history_id"]) for one in accepted]
        assert sorted(answer.status for answer in answers) == [200, 503]
        away = next(answer for answer in answers if answer.status == 503)
        assert int(away.headers["Retry-After"]) > 0
        assert "does not answer" in away.json["message"]
        await asyncio.to_thread(running.cluster.restart, "downloader-2")
        async with asyncio.timeout(30):  # the gateway's channel tries again every two seconds, as Retry-After says
            while {(await running.user.file(one["history_id"])).status for one in accepted} != {200}:
                await asyncio.sleep(0.1)
        for one in accepted:
            await running.user.call("DELETE", f"/api/v1/history/{one['history_id']}")
