"""Every malformed request gets its own clear refusal, is never a 5xx, and changes nothing (reliability.md J, PW; issue "Bad input")."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.gateway import PASSWORD, RunningGateway, User, running_gateway
from vasset.gateway.middleware import body_limit

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"Content-Type": "application/json"}
GOOD = {"url": "https://site.test/v/1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path_factory.mktemp("bad")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def user(gateway: RunningGateway) -> User:
    return await gateway.sign_up()


@pytest.mark.parametrize(
    "body",
    [
        b'{"url":"https://site.test/v/1","url":"https://site.test/v/2"}',
        b'{"url":NaN}',
        b'{"url":"https://site.test/v/1","duration_seconds":NaN}',
        b'{"url":"https://site.test/v/1","duration_seconds":1e999}',
        b'{"url":"https://site.test/v/1","duration_seconds":true}',
        b'{"url":"https://site.test/v/1","duration_seconds":"3"}',
        b'{"url":"https://site.test/v/1","duration_seconds":-1}',
        b"[" * 60_000,
        b'{"url":' * 5_000,
        b'{"url":' + b"9" * 5_000 + b"}",
        b'\xef\xbb\xbf{"url":"https://site.test/v/1"}',
        '{"url":"https://site.test/v/1"}'.encode("utf-16"),
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"url":"https://site.test/v/1","user_id":1}',
        b'{"url":"https://site.test/v/1","mode":"quick"}',
        b'{"url":"https://site.test/v/1","mode":["quick_download"]}',
        b'{"url":"https://site.test/v/1","quality":"bestvideo[height<="}',
        b'{"url":"https://site.test/v/1","quality":""}',
        b'{"url":"https://site.test/v/1","format":"exe"}',
        b'{"url":"https://site.test/v/1","format":null}',
        b'{"url":"https://site.test/v/1","title":"a\\u0000b"}',
        b'{"url":"https://site.test/v/1","title":"a\\r\\nb"}',
        b'{"url":""}',
        b'{"url":1}',
        b'{"url":["https://site.test/v/1"]}',
        b'{"url":"not a url"}',
        b'{"url":"file:///etc/passwd"}',
        b'{"url":"FILE:/etc/passwd"}',
        b'{"url":"ftp://127.0.0.1/"}',
        b'{"url":"data:text/plain,hi"}',
        b'{"url":"ytsearch100000:x"}',
        b'{"url":"--batch-file=/etc/passwd"}',
        b'{"url":"//site.test/"}',
        b'{"url":"http:///site.test"}',
        b'{"url":"http://user:password@site.test/"}',
        b'{"url":"http://site.test\\\\@127.0.0.1/"}',
        b'{"url":"http://site.test/\\r\\nSET a b"}',
        b'{"url":"https://site.test/' + b"a" * 8192 + b'"}',
    ],
)
async def test_a_malformed_download_is_40001_and_costs_nothing(
    gateway: RunningGateway, user: User, body: bytes
) -> None:
    before = (await gateway.call("GET", "/api/v1/quota", user))[1]["data"]["daily_used"]
    for path in ("/api/v1/download", "/api/v1/parse"):
        status, answer = await gateway.call("POST", path, user, data=body, headers=JSON)
        assert (status, answer["code"]) == (400, 40001), answer
        assert answer["message"]
        assert answer["retryable"] is False
        assert answer["request_id"]
    assert (await gateway.call("GET", "/api/v1/quota", user))[1]["data"]["daily_used"] == before


async def test_a_lone_surrogate_is_422(gateway: RunningGateway, user: User) -> None:
    status, answer = await gateway.call("POST", "/api/v1/download", user, data=rb'{"url":"\ud800"}', headers=JSON)
    assert (status, answer["reason"]) == (422, "not_text")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"]
)
async def test_a_form_that_another_site_could_send_is_415(
    gateway: RunningGateway, user: User, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    status, answer = await gateway.call("POST", "/api/v1/download", user, data=json.dumps(GOOD), headers=headers)
    assert (status, answer["code"]) == (415, 41501)


async def test_a_body_over_64_kib_is_413_before_it_is_read(gateway: RunningGateway, user: User) -> None:
    status, answer = await gateway.call("POST", "/api/v1/download", user, data=b" " * 70_000, headers=JSON)
    assert (status, answer["code"]) == (413, 41301)
    announced = await _raw(gateway, b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n")
    assert announced.startswith(b"HTTP/1.1 413")


async def test_an_endless_chunked_body_is_413_at_64_kib(gateway: RunningGateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    )
    sent = 0
    answer = asyncio.ensure_future(reader.read(65536))
    async with asyncio.timeout(10):
        while not answer.done() and sent < 2**22:
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
            sent += 4096
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0)
    assert (await answer).startswith(b"HTTP/1.1 413")
    assert sent < 2**21
    writer.transport.abort()


async def test_a_body_that_trickles_is_given_up(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = gateway.app.middleware_stack
    while not isinstance(limit, body_limit.BodyLimit):
        limit = getattr(limit, "_app", None) or limit.app
    monkeypatch.setattr(limit, "_timeout_seconds", 0.2)
    answer = await _raw(gateway, b'POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":40801' in answer


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            {400},
        ),
        (b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", {400}),
        (b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n", {400}),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n", {431}),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000, {431}),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {431}),
        (b"GET /api/v1/quota HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", {400}),
        (b"GET /api/v1/quota HTTP/1.1\r\n\r\n", {400}),
        (b"GET /api/v1/quota HTTP/1.1\r\nHost: a b\r\n\r\n", {400}),
        (b"GET /api/v1/quota HTTP/1.1\r\nHost: x/../y\r\n\r\n", {400}),
        (b"NONSENSE\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00", {400}),
        (b"TRACE /api/v1/quota HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
        (b"GET /api/v1/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
        (b"GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
        (b"GET /static/%00 HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
        (b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    ],
)
async def test_requests_that_smuggle_or_are_none_are_refused(
    gateway: RunningGateway, head: bytes, expected: set[int]
) -> None:
    answer = await _raw(gateway, head)
    assert int(answer.split(b" ")[1]) in expected, answer[:200]


async def test_headers_that_never_end_are_given_up(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vasset.gateway.protocols.HEAD_SECONDS", 0.2)
    assert await _raw(gateway, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""


@pytest.mark.parametrize(
    "query",
    ["page=-1", "page=0", "page=1.0", "page=1_0", "page=%2B1", "page=%D9%A1", "page=", "per_page=1000000000", "page=" + "9" * 30,
     "limit=10", "cursor=forged", "page=1&page=2", "user_id=2"],
)  # fmt: skip
async def test_page_numbers_are_plain_and_bounded_and_nothing_else_is_taken(
    gateway: RunningGateway, user: User, query: str
) -> None:
    for path in ("/api/v1/history", "/api/v1/downloads"):
        status, answer = await gateway.call("GET", f"{path}?{query}", user)
        assert (status, answer["code"]) == (400, 40001)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"url": "https://site.test/v/1", "speed": 3}, "The field 'speed' is wrong: it is not known here."),
        ({}, "The field 'url' is wrong: it is required."),
    ],
)
async def test_what_is_wrong_with_a_body_is_said_in_words_for_people(
    gateway: RunningGateway, user: User, body: dict[str, object], said: str
) -> None:
    status, answer = await gateway.call("POST", "/api/v1/download", user, json=body)
    assert (status, answer["message"]) == (400, said)


@pytest.mark.parametrize("query", ["status=done", "status=", "status=queued,running", "status=QUEUED"])
async def test_an_unknown_status_is_refused(gateway: RunningGateway, user: User, query: str) -> None:
    assert (await gateway.call("GET", f"/api/v1/downloads?{query}", user))[0] == 400


@pytest.mark.parametrize("q", ["%25%25%25", "'; DROP TABLE tasks;--", "%ff", "_", "\\", "x" * 200])
async def test_a_search_text_is_only_text(gateway: RunningGateway, user: User, q: str) -> None:
    status, answer = await gateway.call("GET", f"/api/v1/history?q={q}", user)
    assert (status, answer["data"]["items"]) == (200, [])


async def test_a_search_text_with_nul_is_refused(gateway: RunningGateway, user: User) -> None:
    assert (await gateway.call("GET", "/api/v1/history?q=%00", user))[0] == 400


@pytest.mark.parametrize(
    "task_id", ["1", "0" * 32, "%00", "..%2f..", "' OR 1=1", "x" * 5000, "0" * 8 + "-0000-0000-0000-" + "0" * 12]
)
async def test_ids_that_name_no_task_are_404(gateway: RunningGateway, user: User, task_id: str) -> None:
    for method, suffix in [("GET", ""), ("POST", "/cancel"), ("POST", "/retry")]:
        status, answer = await gateway.call(method, f"/api/v1/downloads/{task_id}{suffix}", user)
        assert (status, answer["code"]) == (404, 40401)


@pytest.mark.parametrize("history_id", ["0", "-1", "9223372036854775808", "x", "1e3", "%D9%A1", "1_0"])
async def test_ids_that_name_no_history_are_404(gateway: RunningGateway, user: User, history_id: str) -> None:
    assert (await gateway.call("DELETE", f"/api/v1/history/{history_id}", user))[0] == 404
    assert (await gateway.call("DELETE", f"/api/v1/auth/sessions/{history_id}", user))[0] == 404


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb"])
async def test_an_idempotency_key_is_1_to_255_printable_characters(
    gateway: RunningGateway, user: User, key: str
) -> None:
    status, answer = await gateway.call("POST", "/api/v1/download", user, json=GOOD, headers={"Idempotency-Key": key})
    assert (status, answer["code"]) == (400, 40001)


@pytest.mark.parametrize(
    "password",
    [
        "short12",
        "x1" * 36 + "y",
        "测" * 24 + "1a",
        "a1" * 1000,
        "password1",
        "onlyletters",
        "12345678",
        "nul\x001234a",
        "",
    ],
)
async def test_a_password_that_breaks_a_rule_is_told_which(gateway: RunningGateway, password: str) -> None:
    body = {"email": "new@example.org", "password": password, "nickname": "n"}
    status, answer = await gateway.call("POST", "/api/v1/auth/register", json=body)
    assert (status, answer["code"]) == (400, 40001)
    assert not password or password not in json.dumps(answer, ensure_ascii=False)


@pytest.mark.parametrize("password", ["a1" * 36, "测" * 23 + "1a", "  spaces 1  "])
async def test_a_password_of_up_to_72_bytes_signs_in_exactly_as_given(gateway: RunningGateway, password: str) -> None:
    email = f"{abs(hash(password))}@example.org"
    body = {"email": email, "password": password, "nickname": "n"}
    assert (await gateway.call("POST", "/api/v1/auth/register", json=body))[0] == 200
    login = {"email": email, "password": password}
    assert (await gateway.call("POST", "/api/v1/auth/login", json=login))[0] == 200
    login["password"] = password + " "
    assert (await gateway.call("POST", "/api/v1/auth/login", json=login))[0] == 401


async def test_a_password_of_a_megabyte_is_refused_unread(gateway: RunningGateway) -> None:
    body = {"email": "a@example.org", "password": "a1" * 250_000}
    assert (await gateway.call("POST", "/api/v1/auth/login", json=body))[0] == 413


async def test_an_unknown_account_and_a_wrong_password_answer_alike(gateway: RunningGateway, user: User) -> None:
    answers = []
    for email in (user.email, "nobody@example.org"):
        status, answer = await gateway.call(
            "POST", "/api/v1/auth/login", json={"email": email, "password": "wrong 12345"}
        )
        answers.append((status, {key: answer[key] for key in ("code", "message", "reason")}))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401


@pytest.mark.parametrize("body", [
    {"email": "a", "password": PASSWORD, "nickname": "n"},
    {"email": "a@b@c", "password": PASSWORD, "nickname": "n"},
    {"email": "a@example.org\r\nBcc: x", "password": PASSWORD, "nickname": "n"},
    {"email": "a@example.org", "password": PASSWORD, "nickname": ""},
    {"email": "a@example.org", "password": PASSWORD, "nickname": "n" * 65},
    {"email": "a@example.org", "password": PASSWORD, "nickname": "n\u202e"},
    {"email": "a@example.org", "password": PASSWORD, "nickname": "n", "role": "admin"},
    {"email": "a@example.org", "password": 12345678, "nickname": "n"},
    {"email": "a@example.org", "password": None, "nickname": "n"},
])  # fmt: skip
async def test_an_account_is_made_of_its_own_fields_only(gateway: RunningGateway, body: dict[str, Any]) -> None:
    assert (await gateway.call("POST", "/api/v1/auth/register", json=body))[0] == 400


async def test_the_same_email_twice_is_409(gateway: RunningGateway, user: User) -> None:
    body = {"email": user.email.upper(), "password": PASSWORD, "nickname": "n"}
    status, answer = await gateway.call("POST", "/api/v1/auth/register", json=body)
    assert (status, answer["code"]) == (409, 40902)


async def _raw(gateway: RunningGateway, request: bytes) -> bytes:
    """What the server answers to these bytes; it must answer or close within ten seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request)
    async with asyncio.timeout(10):
        try:
            answer = await reader.read(65536)
        except ConnectionError:
            answer = b""
    writer.transport.abort()
    return answer
