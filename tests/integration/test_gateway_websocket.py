"""``/api/v1/ws`` against reliability.md W1–W11 and the promises P18–P20."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import pytest_asyncio

from tests.support.gateway import RunningGateway, User, running_gateway
from vasset.bootstrap.prompt_store import PromptTaskStore
from vasset.domain.download import Intent, Phase
from vasset.domain.errors import DependencyDown
from vasset.domain.ports import TaskStore
from vasset.domain.progress import SEQ_PER_FENCE, ProgressFrame
from vasset.gateway import server
from vasset.gateway.live import hub
from vasset.gateway.live.hub import MAX_SOCKETS_PER_USER
from vasset.gateway.services import GatewayServices
from vasset.gateway.tickets import Bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")
Message = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path_factory.mktemp("ws"), revocation_seconds=0.5) as running:
        yield running


def frame(user: User, task_id: str, number: int, phase: Phase = Phase.DOWNLOADING) -> ProgressFrame:
    return ProgressFrame(
        task_id=task_id,
        user_id=user.id,
        seq=SEQ_PER_FENCE + number,
        phase=phase,
        timestamp=time.time(),
        percent=float(number),
    )


async def receive(socket_: aiohttp.ClientWebSocketResponse) -> Message:
    async with asyncio.timeout(10):  # aiohttp's own timeout starts again at every ping
        message: Message = json.loads((await socket_.receive()).data)
    return message


async def closing_code(socket_: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read on until the server ends it."""
    async with asyncio.timeout(15):
        while (await socket_.receive()).type not in {
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.ERROR,
        }:
            pass
    return socket_.close_code


async def test_a_snapshot_comes_first_and_then_rising_numbers(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    task = await gateway.submitted(user)
    await gateway.bus.publish([frame(user, task.id, 1)])
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        assert live.protocol == "vasset.v1"
        first = await receive(live)
        assert first["event"] == "snapshot"
        assert [told["task_id"] for told in first["tasks"]] == [task.id]
        assert set(first["tasks"][0]) == {
            "task_id", "history_id", "title", "phase", "percent", "downloaded_bytes", "total_bytes", "total_is_estimate",
            "speed_bytes_per_second", "eta_seconds", "attempt", "seq", "waiting_for", "is_live", "timestamp", "error",
        }  # fmt: skip
        await gateway.bus.publish([frame(user, task.id, 5)])
        told = [await receive(live)]
        await gateway.bus.publish([frame(user, task.id, 3)])
        await gateway.bus.publish([frame(user, task.id, 7, Phase.COMPLETED)])
        told.append(await receive(live))
        assert [message["event"] for message in told] == ["progress", "progress"]
        assert [message["task"]["seq"] - SEQ_PER_FENCE for message in told] == [5, 7]


async def test_frames_reach_their_own_user_only(gateway: RunningGateway) -> None:
    mine, other = await gateway.sign_up(), await gateway.sign_up()
    task, foreign = await gateway.submitted(mine), await gateway.submitted(other)
    async with gateway.socket(await gateway.ws_ticket(mine)) as live:
        await receive(live)
        await live.send_json({"event": "subscribe", "task_ids": [task.id, foreign.id]})
        assert [told["task_id"] for told in (await receive(live))["tasks"]] == [task.id]
        await gateway.bus.publish([frame(other, foreign.id, 1), frame(mine, task.id, 2)])
        assert (await receive(live))["task"]["task_id"] == task.id


async def test_a_subscription_narrows_what_is_told(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    wanted, unwanted = await gateway.submitted(user), await gateway.submitted(user)
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        assert len((await receive(live))["tasks"]) == 2
        await live.send_json({"event": "subscribe", "task_ids": [wanted.id]})
        assert [told["task_id"] for told in (await receive(live))["tasks"]] == [wanted.id]
        await gateway.bus.publish([frame(user, unwanted.id, 1), frame(user, wanted.id, 1)])
        assert (await receive(live))["task"]["task_id"] == wanted.id


async def test_an_ending_that_the_bus_lost_arrives_from_sql(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    task = await gateway.submitted(user)
    lease = await gateway.store.claim(task.id, worker="w", lease_seconds=60)
    assert lease is not None
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        assert (await receive(live))["tasks"][0]["phase"] != "cancelled"
        await gateway.store.stop(lease, Intent.CANCEL)  # nobody publishes
        ending = await receive(live)
        assert (ending["task"]["task_id"], ending["task"]["phase"]) == (task.id, "cancelled")


async def test_a_reconnecting_client_learns_of_what_ended_meanwhile(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    task = await gateway.finished(user, b"bytes")
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        told = (await receive(live))["tasks"][0]
    assert (told["task_id"], told["phase"], told["percent"]) == (task.id, "completed", 100.0)
    polled = (await gateway.call("GET", f"/api/v1/downloads/{task.id}", user))[1]["data"]
    assert {key: told[key] for key in ("seq", "percent", "phase")} == {
        key: polled[key] for key in ("seq", "percent", "phase")
    }


class NoWorker:
    """Nobody runs tasks here: they wait."""

    def nudge(self, task_id: str) -> None:
        return

    def wake(self) -> None:
        return


async def test_every_wish_about_a_waiting_task_is_told_with_a_higher_seq(tmp_path: Path) -> None:
    def promptly(services: GatewayServices) -> GatewayServices:
        return replace(services, tasks=cast("TaskStore", PromptTaskStore(services.tasks, services.bus, NoWorker())))

    wishes = ["pause", "resume", "pause", "cancel", "retry", "pause", "resume", "cancel"]
    phases = ["paused", "queued", "paused", "cancelled", "queued", "paused", "queued", "cancelled"]
    async with running_gateway(tmp_path, adjust=promptly) as gateway:
        user = await gateway.sign_up()
        task = await gateway.submitted(user)
        async with gateway.socket(await gateway.ws_ticket(user)) as live:
            seen = [(await receive(live))["tasks"][0]]
            for wish, phase in zip(wishes, phases, strict=True):
                answer = (await gateway.call("POST", f"/api/v1/downloads/{task.id}/{wish}", user))[1]["data"]
                seen.append((await receive(live))["task"])
                polled = (await gateway.call("GET", f"/api/v1/downloads/{task.id}", user))[1]["data"]
                assert (seen[-1]["phase"], answer["phase"], polled["phase"]) == (phase, phase, phase)
                assert seen[-1]["seq"] == answer["seq"] == polled["seq"]
    sequence = [told["seq"] for told in seen]
    assert sequence == sorted(set(sequence))


async def test_a_ticket_works_once(gateway: RunningGateway) -> None:
    ticket = await gateway.ws_ticket(await gateway.sign_up())
    async with gateway.socket(ticket) as live:
        await receive(live)
    async with gateway.socket(ticket) as again:
        assert await closing_code(again) == 4401


@pytest.mark.parametrize("ticket", ["x", "A" * 43, "*", "A" * 3000])
async def test_a_made_up_ticket_opens_nothing(gateway: RunningGateway, ticket: str) -> None:
    async with gateway.socket(ticket) as live:
        assert await closing_code(live) == 4401


async def test_a_ticket_ends_after_thirty_seconds(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    _, answer = await gateway.call("POST", "/api/v1/ws/ticket", user)
    assert answer["data"]["expires_in"] == 30
    [entry] = [value for key, value in gateway.cache._entries.items() if key.startswith("ticket:ws:")][-1:]
    assert entry[0] - time.monotonic() <= 30.0


@pytest.mark.parametrize("suffix", ["?token={token}", "?access_token={token}", "?ticket={ticket}"])
async def test_no_secret_is_taken_from_the_address(gateway: RunningGateway, suffix: str) -> None:
    user = await gateway.sign_up()
    ticket = await gateway.ws_ticket(user)
    url = gateway.base + "/api/v1/ws" + suffix.format(token=user.access_token, ticket=ticket)
    async with gateway.http.ws_connect(url, protocols=("vasset.v1",)) as live:
        assert await closing_code(live) == 4401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"])
async def test_a_foreign_origin_is_refused_before_its_ticket_is_spent(gateway: RunningGateway, origin: str) -> None:
    user = await gateway.sign_up()
    ticket = await gateway.ws_ticket(user)
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with gateway.socket(ticket, origin=origin):
            pass
    assert caught.value.status == 403
    async with gateway.socket(ticket, origin=gateway.base) as live:
        assert (await receive(live))["event"] == "snapshot"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        '{"event":"subscribe"}',
        '{"event":"subscribe","task_ids":["progress:*"]}',
        '{"event":"subscribe","task_ids":["*"]}',
        '{"event":"subscribe","task_ids":[1]}',
        '{"event":"subscribe","task_ids":[],"user_id":1}',
        '{"event":"publish","task_ids":[]}',
        '{"event":"subscribe","task_ids":[],"task_ids":[]}',
        "[" * 2000,
    ],
)
async def test_a_message_of_another_kind_ends_the_connection(gateway: RunningGateway, text: str) -> None:
    async with gateway.socket(await gateway.ws_ticket(await gateway.sign_up())) as live:
        await receive(live)
        await live.send_str(text)
        assert await closing_code(live) == 4400


async def test_bytes_frames_over_4_kib_and_floods_end_the_connection(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        await live.send_bytes(b"x")
        assert await closing_code(live) == 4400
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        await live.send_str("x" * 5000)
        assert await closing_code(live) == 1009
    async with gateway.socket(await gateway.ws_ticket(user)) as live:
        for _ in range(50):
            await live.send_str('{"event":"subscribe","task_ids":[]}')
        assert await closing_code(live) == 4429


async def test_ten_sockets_a_user_and_no_more(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    opened = []
    try:
        for _ in range(MAX_SOCKETS_PER_USER):
            live = await gateway.socket(await gateway.ws_ticket(user))
            opened.append(live)
            await receive(live)
        async with gateway.socket(await gateway.ws_ticket(user)) as eleventh:
            assert await closing_code(eleventh) == 4429
        other = await gateway.sign_up()
        async with gateway.socket(await gateway.ws_ticket(other)) as live:
            assert (await receive(live))["event"] == "snapshot"
    finally:
        for live in opened:
            await live.close()


@pytest.mark.parametrize("how", ["logout", "password"])
async def test_a_socket_ends_with_its_session(gateway: RunningGateway, how: str) -> None:
    user, neighbour = await gateway.sign_up(), await gateway.sign_up()
    async with (
        gateway.socket(await gateway.ws_ticket(user)) as live,
        gateway.socket(await gateway.ws_ticket(neighbour)) as kept,
    ):
        await receive(live)
        await receive(kept)
        if how == "logout":
            await gateway.call("POST", "/api/v1/auth/logout", user)
        else:
            body = {"current_password": "correct horse 7", "new_password": "another horse 8"}
            assert (await gateway.call("POST", "/api/v1/auth/password", user, json=body))[0] == 200
        assert await closing_code(live) == 4401
        assert not kept.closed


async def test_a_socket_ends_with_its_token(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_gateway(tmp_path_factory.mktemp("expiry")) as gateway:
        user = await gateway.sign_up()
        claims = json.loads(base64.urlsafe_b64decode(user.access_token.split(".")[1] + "=="))
        tickets = gateway.app.state.gateway.tickets
        bearer = Bearer(user.id, 0, claims["sid"], expires_at=time.time() + 0.3)
        async with gateway.socket(await tickets.issue("ws", bearer)) as live:
            await receive(live)
            assert await closing_code(live) == 4401


async def test_a_dead_bus_delays_progress_and_loses_no_ending(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gateway(tmp_path_factory.mktemp("bus")) as gateway:

        def down(*_: Any) -> Any:
            raise DependencyDown()

        monkeypatch.setattr(gateway.bus, "subscribe", down)
        monkeypatch.setattr(gateway.bus, "latest", down)
        user = await gateway.sign_up()
        task = await gateway.submitted(user)
        async with gateway.socket(await gateway.ws_ticket(user)) as live:
            assert (await receive(live))["tasks"][0]["task_id"] == task.id
            await gateway.store.cancel(task.id, user_id=user.id)
            assert (await receive(live))["task"]["phase"] == "cancelled"


async def test_a_task_that_another_gateway_accepts_is_found_while_the_bus_is_away_and_after_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "DEAF_SECONDS", 1.0)
    async with running_gateway(tmp_path_factory.mktemp("deaf")) as gateway:

        def down(*_: Any, **__: Any) -> Any:
            raise DependencyDown()

        user = await gateway.sign_up()
        with monkeypatch.context() as away:
            away.setattr(gateway.bus, "subscribe", down)
            async with gateway.socket(await gateway.ws_ticket(user)) as live:
                assert (await receive(live))["tasks"] == []
                for _ in range(2):
                    task = await gateway.submitted(user)  # nobody publishes
                    assert (await receive(live))["task"]["task_id"] == task.id
                # Begun and ended between two looks, just before the bus is back.
                brief = await gateway.finished(user, b"bytes")
                with monkeypatch.context() as unreadable:  # the look that finds the bus back finds the database away
                    unreadable.setattr(gateway.store, "page", down)
                    away.undo()
                    await asyncio.sleep(4)
                told = (await receive(live))["task"]
                assert (told["task_id"], told["phase"]) == (brief.id, "completed")
                await gateway.bus.publish([frame(user, task.id, 1)])
                assert (await receive(live))["task"]["task_id"] == task.id


async def test_readers_that_never_read_are_closed_and_delay_nobody(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PING_SECONDS", 1.0)
    async with running_gateway(tmp_path_factory.mktemp("stalled")) as gateway:
        stalled_user, user = await gateway.sign_up(), await gateway.sign_up()
        task = await gateway.submitted(user)
        stalled = [await _handshake(gateway, stalled_user) for _ in range(5)]
        sockets = gateway.app.state.gateway.hub
        async with gateway.socket(await gateway.ws_ticket(user)) as live:
            await receive(live)
            for number in range(1, 5):
                await gateway.bus.publish([frame(stalled_user, f"{n:036d}", number) for n in range(500)])
                await gateway.bus.publish([frame(user, task.id, number)])
                assert (await receive(live))["task"]["percent"] == float(number)
            async with asyncio.timeout(20):
                while sockets.sockets > 1:
                    await asyncio.sleep(0.05)
        for connection in stalled:
            connection.close()


async def _handshake(gateway: RunningGateway, user: User) -> socket.socket:
    """A client that says hello with a 4 KiB buffer and never reads again, nor answers a ping."""
    ticket = await gateway.ws_ticket(user)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", gateway.port))
    key = base64.b64encode(os.urandom(16)).decode()
    await loop.sock_sendall(
        connection,
        f"GET /api/v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: vasset.v1, ticket.{ticket}\r\n\r\n".encode(),
    )
    assert (await loop.sock_recv(connection, 12)).startswith(b"HTTP/1.1 101")
    return connection
