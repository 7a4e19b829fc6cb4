"""``GET /api/v1/download/file`` against every request of reliability.md R1–R30."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import psutil
import pytest
import pytest_asyncio
from multidict import CIMultiDict
from sqlalchemy import update

from tests.support.gateway import RunningGateway, User, running_gateway
from vasset.adapters.db.tables import download_history
from vasset.domain.download import Task
from vasset.gateway.files import delivery

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTENT = bytes(range(256)) * 40  # 10,240 bytes, no two neighbours alike
SIZE = len(CONTENT)
TAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@dataclass
class Stage:
    gateway: RunningGateway
    user: User
    stranger: User
    task: Task

    @property
    def path(self) -> str:
        return f"/api/v1/download/file?history_id={self.task.history_id}"

    async def get(
        self,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
        *,
        method: str = "GET",
        path: str | None = None,
    ) -> tuple[int, CIMultiDict[str], bytes]:
        sent = CIMultiDict(self.user.headers)
        sent.extend(headers or {})
        async with self.gateway.http.request(method, self.gateway.base + (path or self.path), headers=sent) as answer:
            return answer.status, CIMultiDict(answer.headers), await answer.read()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with running_gateway(tmp_path_factory.mktemp("files")) as gateway:
        await gateway.sign_up()
        user, stranger = await gateway.sign_up(), await gateway.sign_up()
        task = await gateway.finished(user, CONTENT, file_name="Schöner Film.mp4")
        yield Stage(gateway, user, stranger, task)


async def test_the_whole_file_arrives_with_every_header_that_keeps_it_harmless(stage: Stage) -> None:
    status, headers, body = await stage.get()
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Content-Length"] == str(SIZE)
    assert headers["Content-Disposition"].startswith(
        "attachment; filename=\"Schoner Film.mp4\"; filename*=UTF-8''Sch%C3%B6"
    )
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == TAG
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=100-199", 100, 199),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=0-18446744073709551616", 0, SIZE - 1),
        ("bytes=-99999999999999", 0, SIZE - 1),
        ("bytes= 0-5", 0, 5),
        ("BYTES=0-5", 0, 5),
    ],
)
async def test_one_range_answers_206_with_exactly_these_bytes(stage: Stage, header: str, first: int, last: int) -> None:
    status, headers, body = await stage.get({"Range": header})
    assert (status, body) == (206, CONTENT[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert headers["Content-Length"] == str(last - first + 1)


@pytest.mark.parametrize("header", ["bytes=999999-", f"bytes={SIZE}-", "bytes=-0"])
async def test_a_range_outside_the_file_answers_416_with_its_size(stage: Stage, header: str) -> None:
    status, headers, body = await stage.get({"Range": header})
    assert (status, headers["Content-Range"], body) == (416, f"bytes */{SIZE}", b"")


@pytest.mark.parametrize(
    "header",
    [
        "bytes=5-2",
        "bytes=abc",
        "items=0-5",
        "bytes=0-1,2-3",
        f"bytes=0-{SIZE},0-{SIZE},0-{SIZE}",
        "bytes=" + ",".join(f"{n}-" for n in range(1500)),
        "bytes=0-5,abc",
        "bytes=--5",
        "bytes=+1-5",
        "bytes=٠-٥",
    ],
)
async def test_anything_but_one_range_answers_the_whole_file_once(stage: Stage, header: str) -> None:
    status, _, body = await stage.get({"Range": header})
    assert (status, body) == (200, CONTENT)


async def test_two_range_headers_answer_the_whole_file(stage: Stage) -> None:
    status, _, body = await stage.get([("Range", "bytes=0-1"), ("Range", "bytes=2-3")])
    assert (status, body) == (200, CONTENT)


@pytest.mark.parametrize(("validator", "expected"), [
    (TAG, 206), (f"W/{TAG}", 200), ('"another"', 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200), ("garbage", 200),
])  # fmt: skip
async def test_a_resume_continues_only_the_same_version(stage: Stage, validator: str, expected: int) -> None:
    status, _, body = await stage.get({"Range": "bytes=5-9", "If-Range": validator})
    assert (status, body) == ((206, CONTENT[5:10]) if expected == 206 else (200, CONTENT))


async def test_a_version_the_client_has_is_not_sent_again(stage: Stage) -> None:
    status, headers, body = await stage.get({"If-None-Match": f'"x", W/{TAG}'})
    assert (status, headers["ETag"], body) == (304, TAG, b"")
    assert (await stage.get({"If-Match": '"x"'}))[0] == 412


async def test_head_says_what_get_would_and_sends_nothing(stage: Stage) -> None:
    status, headers, body = await stage.get({"Range": "bytes=0-5"}, method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(SIZE), b"")


async def test_an_empty_file_is_sent_and_has_no_ranges(stage: Stage) -> None:
    task = await stage.gateway.finished(stage.user, b"")
    path = f"/api/v1/download/file?history_id={task.history_id}"
    assert (await stage.get(path=path))[::2] == (200, b"")
    assert (await stage.get({"Range": "bytes=0-"}, path=path))[0] == 416


async def test_media_plays_inline_on_request_and_nothing_else_does(stage: Stage) -> None:
    status, headers, _ = await stage.get(path=stage.path + "&inline=1")
    assert (status, headers["Content-Disposition"].partition(";")[0]) == (200, "inline")
    page = await stage.gateway.finished(stage.user, b"<script>alert(1)</script>", file_name="x.html")
    path = f"/api/v1/download/file?history_id={page.history_id}&inline=1"
    status, headers, _ = await stage.get(path=path)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"].startswith("attachment")


@pytest.mark.parametrize(("history_id", "expected"), [
    ("1%20OR%201=1", 400), ("../x", 400), ("9223372036854775808", 400), ("9223372036854775807", 404), ("0", 400), ("-1", 400),
    ("%D9%A1", 400), ("1_0", 400), ("+1", 400), ("", 400), ("1&history_id=2", 400),
])  # fmt: skip
async def test_ids_that_name_nothing_open_nothing(stage: Stage, history_id: str, expected: int) -> None:
    status, _, _ = await stage.get(path=f"/api/v1/download/file?history_id={history_id}")
    assert status == expected


async def test_another_users_file_is_as_unknown_as_one_that_never_was(stage: Stage) -> None:
    answers = []
    for history_id in (stage.task.history_id, 10**12):
        path = f"/api/v1/download/file?history_id={history_id}"
        for method in ("GET", "HEAD"):
            async with stage.gateway.http.request(
                method,
                stage.gateway.base + path,
                headers={**stage.stranger.headers, "Range": "bytes=0-0", "If-Range": TAG},
            ) as answer:
                body = re.sub(rb'"request_id":"[^"]*"', b"", await answer.read())
                answers.append((method, answer.status, body))
    assert answers[:2] == answers[2:]
    assert answers[0][1] == 404


async def test_an_unfinished_or_expired_download_has_no_file(stage: Stage) -> None:
    waiting = await stage.gateway.submitted(stage.user)
    assert (await stage.get(path=f"/api/v1/download/file?history_id={waiting.history_id}"))[0] == 404
    done = await stage.gateway.finished(stage.user, b"bytes")
    async with stage.gateway.database.write() as transaction:
        past = transaction.now - timedelta(seconds=1)
        await transaction.execute(
            update(download_history).where(download_history.c.id == done.history_id).values(expire_at=past)
        )
    assert (await stage.get(path=f"/api/v1/download/file?history_id={done.history_id}"))[0] == 404


async def test_a_file_that_lost_bytes_is_not_handed_out(stage: Stage) -> None:
    task = await stage.gateway.finished(stage.user, CONTENT)
    (stage.gateway.storage.root / f"tmp/{task.id}/file.mp4").write_bytes(CONTENT[:-1])
    status, _, body = await stage.get(path=f"/api/v1/download/file?history_id={task.history_id}")
    assert status == 500
    assert b"damaged" in body


async def test_a_symlink_in_place_of_the_file_is_not_followed(stage: Stage) -> None:
    task = await stage.gateway.finished(stage.user, CONTENT)
    planted = stage.gateway.storage.root / f"tmp/{task.id}/file.mp4"
    planted.unlink()
    planted.symlink_to("/etc/passwd")
    assert (await stage.get(path=f"/api/v1/download/file?history_id={task.history_id}"))[0] == 404


async def test_deleting_a_file_while_it_is_read_harms_no_reader(stage: Stage) -> None:
    content = bytes(8 * delivery.COLD_CHUNK_BYTES)
    task = await stage.gateway.finished(stage.user, content)
    path = f"{stage.gateway.base}/api/v1/download/file?history_id={task.history_id}"
    async with stage.gateway.http.get(path, headers=stage.user.headers) as answer:
        await answer.content.readexactly(1000)
        (stage.gateway.storage.root / f"tmp/{task.id}/file.mp4").unlink()
        rest = await answer.content.read()
    assert 1000 + len(rest) == len(content)


async def test_a_file_cut_while_it_is_read_ends_the_connection_short(stage: Stage) -> None:
    content = bytes(64 * delivery.COLD_CHUNK_BYTES)
    task = await stage.gateway.finished(stage.user, content)
    reader, writer = await _raw_get(stage, task, receive_buffer=65536)
    await reader.readexactly(1000)
    os.truncate(stage.gateway.storage.root / f"tmp/{task.id}/file.mp4", 0)
    received = 1000
    try:
        async with asyncio.timeout(20):
            while data := await reader.read(1 << 20):
                received += len(data)
    except ConnectionError:
        pass
    writer.close()
    assert received < len(content)


async def test_a_reader_that_goes_away_frees_the_file(stage: Stage) -> None:
    task = await stage.gateway.finished(stage.user, bytes(32 * delivery.COLD_CHUNK_BYTES))
    before = _open_files(stage, task)
    reader, writer = await _raw_get(stage, task, receive_buffer=65536)
    await reader.readexactly(1000)
    assert _open_files(stage, task) == before + 1
    writer.transport.abort()
    async with asyncio.timeout(10):
        while _open_files(stage, task) != before:
            await asyncio.sleep(0.01)


async def test_a_stalled_reader_is_let_go_and_held_no_more_than_a_chunk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery.FileDelivery.__init__, "__kwdefaults__", {"stall_seconds": 0.3})
    task = await stage.gateway.finished(stage.user, bytes(64 * delivery.COLD_CHUNK_BYTES))
    reader, writer = await _raw_get(stage, task, receive_buffer=4096)
    await reader.readexactly(100)
    async with asyncio.timeout(10):
        while _open_files(stage, task):
            await asyncio.sleep(0.01)
    assert len(stage.gateway.server.server_state.connections) <= 2
    writer.transport.abort()


async def test_a_ticket_opens_one_file_once_and_its_cookie_goes_on_with_it(stage: Stage) -> None:
    gateway = stage.gateway
    _, answer = await gateway.call(
        "POST", "/api/v1/download/ticket", stage.user, json={"history_id": stage.task.history_id}
    )
    ticket = answer["data"]["ticket"]
    other = await gateway.finished(stage.user, b"another")
    url = f"{gateway.base}{stage.path}&ticket={ticket}&inline=1"
    async with gateway.http.get(url, headers={"Range": "bytes=0-4"}) as first:
        assert (first.status, await first.read()) == (206, CONTENT[:5])
        cookie = first.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/api/v1/download/file" in cookie
    gateway.http.cookie_jar.clear()
    async with gateway.http.get(url) as second:
        assert second.status == 401
    kept = {"Cookie": cookie.partition(";")[0]}
    async with gateway.http.get(url, headers={**kept, "Range": "bytes=5-9"}) as resumed:
        assert (resumed.status, await resumed.read()) == (206, CONTENT[5:10])
    renamed = {"Cookie": kept["Cookie"].replace(str(stage.task.history_id), str(other.history_id), 1)}
    elsewhere = f"{gateway.base}/api/v1/download/file?history_id={other.history_id}&ticket={ticket}"
    async with gateway.http.get(elsewhere, headers=renamed) as refused:
        assert refused.status == 401


async def test_a_ticket_for_one_file_opens_no_other_and_none_is_sold_for_a_strangers(stage: Stage) -> None:
    gateway = stage.gateway
    other = await gateway.finished(stage.user, b"another")
    _, answer = await gateway.call(
        "POST", "/api/v1/download/ticket", stage.user, json={"history_id": stage.task.history_id}
    )
    url = f"{gateway.base}/api/v1/download/file?history_id={other.history_id}&ticket={answer['data']['ticket']}"
    async with gateway.http.get(url) as refused:
        assert refused.status == 401
    status, _ = await gateway.call(
        "POST", "/api/v1/download/ticket", stage.stranger, json={"history_id": stage.task.history_id}
    )
    assert status == 404


async def test_signing_out_ends_what_a_ticket_opened(stage: Stage) -> None:
    gateway = stage.gateway
    user = await gateway.sign_up()
    task = await gateway.finished(user, CONTENT)
    _, answer = await gateway.call("POST", "/api/v1/download/ticket", user, json={"history_id": task.history_id})
    url = f"{gateway.base}/api/v1/download/file?history_id={task.history_id}&ticket={answer['data']['ticket']}"
    async with gateway.http.get(url) as first:
        kept = {"Cookie": first.headers["Set-Cookie"].partition(";")[0]}
    await gateway.call("POST", "/api/v1/auth/logout", user)
    gateway.http.cookie_jar.clear()
    async with gateway.http.get(url, headers=kept) as refused:
        assert refused.status == 401


async def test_nginx_is_told_where_the_file_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("accel")
    async with running_gateway(folder, accel_redirect_prefix="/files/") as gateway:
        user = await gateway.sign_up()
        task = await gateway.finished(user, CONTENT)
        url = f"{gateway.base}/api/v1/download/file?history_id={task.history_id}"
        async with gateway.http.get(url, headers={**user.headers, "Range": "bytes=0-5"}) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
            assert answer.headers["X-Accel-Redirect"] == f"/files/tmp/{task.id}/file.mp4"
            assert answer.headers["ETag"] == TAG


async def _raw_get(
    stage: Stage, task: Task, *, receive_buffer: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client with small buffers, so that the server cannot hide the file in the kernel's."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", stage.gateway.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    request = f"GET /api/v1/download/file?history_id={task.history_id} HTTP/1.1\r\nHost: localhost\r\n"
    writer.write(f"{request}Authorization: {stage.user.headers['Authorization']}\r\n\r\n".encode())
    return reader, writer


def _open_files(stage: Stage, task: Task) -> int:
    """How often this process holds the task's file open."""
    return sum(task.id in found.path for found in psutil.Process().open_files())
