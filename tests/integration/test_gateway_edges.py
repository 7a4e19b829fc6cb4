"""What surrounds every answer: headers, hosts, origins, limits, ids, probes, the page and the documentation."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import structlog

from tests.support.gateway import RunningGateway, running_gateway
from vasset.domain.errors import DependencyDown
from vasset.gateway import app as gateway_app
from vasset.gateway.services import GatewayServices, ReadinessCheck

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    page = tmp_path_factory.mktemp("page")
    (page / "assets").mkdir()
    (page / "index.html").write_text("<!doctype html><title>V-Asset</title>")
    (page / "assets" / "app-1a2b.js").write_text("console.log('x');" * 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gateway_app, "STATIC", page)
        async with running_gateway(tmp_path_factory.mktemp("edges")) as running:
            yield running


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/api/v1/quota",
        "/healthz",
        "/readyz",
        "/docs",
        "/openapi.json",
        "/static/assets/app-1a2b.js",
        "/metrics",
    ],
)
async def test_every_answer_carries_the_security_headers(gateway: RunningGateway, path: str) -> None:
    async with gateway.http.get(gateway.base + path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert re.fullmatch(r"[0-9a-f]{16}", headers["X-Request-ID"])
    assert "Server" not in headers
    assert "Strict-Transport-Security" not in headers


async def test_the_page_is_served_with_its_policy_and_asked_for_again(gateway: RunningGateway) -> None:
    async with gateway.http.get(gateway.base + "/") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        tag = answer.headers["ETag"]
    async with gateway.http.get(gateway.base + "/", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


async def test_hashed_assets_are_immutable_and_compressed(gateway: RunningGateway) -> None:
    url = gateway.base + "/static/assets/app-1a2b.js"
    async with gateway.http.get(url, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.content_type == "text/javascript"
        squeezed = await answer.read()
    async with gateway.http.get(url, headers={"Accept-Encoding": "identity"}) as answer:
        assert await answer.read() == gzip.decompress(squeezed)


async def test_the_documentation_needs_nothing_from_elsewhere(gateway: RunningGateway) -> None:
    async with gateway.http.get(gateway.base + "/docs") as answer:
        html = await answer.text()
    assert "<script" not in html
    assert not re.findall(r'(?:src|href)="(?!/openapi\.json)', html)
    assert "/api/v1/download" in html


async def test_one_request_id_runs_through_answer_error_and_log(gateway: RunningGateway) -> None:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        for sent, expected in [("abcdefgh-1234", "abcdefgh-1234"), ("bad id\x01", None), ("x" * 65, None)]:
            headers = {"X-Request-ID": sent} if "\x01" not in sent else {"X-Request-ID": "a b"}
            async with gateway.http.get(gateway.base + "/api/v1/quota", headers=headers) as answer:
                body = await answer.json()
                assert body["request_id"] == answer.headers["X-Request-ID"]
                assert (body["request_id"] == sent) is (expected is not None)
    assert next(line["request_id"] for line in lines if line["event"] == "request") == "abcdefgh-1234"


async def test_a_log_line_says_what_was_asked_and_nothing_secret(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        task = await gateway.submitted(user)
        await gateway.call("GET", f"/api/v1/downloads/{task.id}", user)
        await gateway.call("GET", "/api/v1/quota?token=canary-secret", user)
        await gateway.call("POST", "/api/v1/auth/login", json={"email": user.email, "password": "canary-secret 1"})
    told = [line for line in lines if line["event"] == "request"]
    assert [(line["route"], line["status"]) for line in told] == [
        ("/api/v1/downloads/{task_id}", 200), ("/api/v1/quota", 400), ("/api/v1/auth/login", 401),
    ]  # fmt: skip
    assert told[0]["user_id"] == user.id
    text = json.dumps(lines, default=str)
    assert "canary-secret" not in text
    assert user.access_token not in text


async def test_limits_are_told_and_enforced_with_retry_after(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_gateway(tmp_path_factory.mktemp("limits"), requests_per_minute=5) as gateway:
        user = await gateway.sign_up()
        seen = []
        for _ in range(12):  # the window may turn once in the middle
            async with gateway.http.get(gateway.base + "/api/v1/quota", headers=user.headers) as answer:
                seen.append((answer.status, int(answer.headers["RateLimit-Remaining"])))
                assert answer.headers["RateLimit-Limit"] == "5"
                if answer.status == 429:
                    assert 1 <= int(answer.headers["Retry-After"]) <= 60
                    assert (await answer.json())["code"] == 42901
        statuses = [status for status, _ in seen]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses
        assert 5 <= statuses.count(200) <= 10
        async with gateway.http.get(gateway.base + "/healthz") as answer:
            assert answer.status == 200


async def test_a_forwarded_address_from_a_stranger_evades_no_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_gateway(tmp_path_factory.mktemp("evade"), requests_per_minute=3) as gateway:
        statuses = [
            (await gateway.call("GET", "/api/v1/quota", headers={"X-Forwarded-For": f"203.0.113.{n}"}))[0]
            for n in range(8)
        ]
        assert statuses.count(401) <= 6
        assert 429 in statuses


async def test_behind_a_known_proxy_callers_are_told_apart_and_https_is_strict(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with running_gateway(
        tmp_path_factory.mktemp("proxy"), requests_per_minute=3, trusted_proxies="127.0.0.0/8"
    ) as gateway:
        for n in range(8):
            headers = {"X-Forwarded-For": f"203.0.113.{n}", "X-Forwarded-Proto": "https"}
            async with gateway.http.get(gateway.base + "/api/v1/quota", headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_only_the_named_hosts_are_answered(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_gateway(tmp_path_factory.mktemp("hosts"), allowed_hosts="vasset.example,*.internal") as gateway:
        for host, expected in [
            ("vasset.example", 401), ("VASSET.example:8080", 401), ("a.internal", 401), ("vasset.example.", 401),
            ("127.0.0.1", 400), ("evil.example", 400), ("xvasset.example", 400), ("internal", 400),
        ]:  # fmt: skip
            assert (await gateway.call("GET", "/api/v1/quota", headers={"Host": host}))[0] == expected, host
        assert (await gateway.call("GET", "/healthz"))[0] == 200


async def test_other_origins_may_call_only_when_named(
    gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ask = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    async with gateway.http.options(gateway.base + "/api/v1/download", headers=ask) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
    async with running_gateway(tmp_path_factory.mktemp("cors"), allowed_origins="https://app.example") as open_gateway:
        async with open_gateway.http.options(open_gateway.base + "/api/v1/download", headers=ask) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
        async with open_gateway.http.get(
            open_gateway.base + "/api/v1/quota", headers={"Origin": "https://evil.example"}
        ) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_readiness_names_the_broken_part_and_liveness_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    broken: set[str] = set()

    def part(name: str, *, required: bool) -> ReadinessCheck:
        async def check() -> None:
            if name in broken:
                raise DependencyDown("secret-host:5432 refused")

        return ReadinessCheck(name, check, required=required)

    draining = False

    def adjust(services: GatewayServices) -> GatewayServices:
        parts = (part("database", required=True), part("cache", required=False))
        return replace(services, readiness=parts, draining=lambda: draining)

    async with running_gateway(tmp_path_factory.mktemp("ready"), adjust=adjust) as gateway:
        assert (await gateway.call("GET", "/readyz"))[1]["data"] == {
            "ready": True,
            "parts": {"database": "ok", "cache": "ok"},
        }
        broken.add("cache")
        status, answer = await gateway.call("GET", "/readyz")
        assert (status, answer["data"]["parts"]["cache"]) == (200, "does not answer")
        broken.add("database")
        status, answer = await gateway.call("GET", "/readyz")
        assert (status, answer["code"], answer["data"]["ready"]) == (503, 50301, False)
        assert "secret-host" not in json.dumps(answer)
        assert (await gateway.call("GET", "/healthz"))[0] == 200
        broken.clear()
        draining = True
        assert (await gateway.call("GET", "/readyz"))[0] == 503


async def test_more_requests_than_can_be_served_are_shed_at_once_and_service_recovers(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    gate = asyncio.Event()

    class SlowLibrary:
        def __init__(self, library: Any) -> None:
            self._library = library

        async def quota(self, identity: Any) -> Any:
            await gate.wait()
            return await self._library.quota(identity)

    def adjust(services: GatewayServices) -> GatewayServices:
        return replace(services, library=SlowLibrary(services.library))  # type: ignore[arg-type]  # one method is asked

    async with running_gateway(tmp_path_factory.mktemp("shed"), adjust=adjust) as gateway:
        user = await gateway.sign_up()
        load = gateway.app.state.gateway.load
        load.limit = 5
        waiting = [asyncio.ensure_future(gateway.call("GET", "/api/v1/quota", user)) for _ in range(5)]
        async with asyncio.timeout(10):
            while load.running < 5:
                await asyncio.sleep(0)
        async with gateway.http.get(gateway.base + "/api/v1/quota", headers=user.headers) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert (await answer.json())["code"] == 50303
        assert (await gateway.call("GET", "/readyz"))[0] == 200
        gate.set()
        assert {(await one)[0] for one in waiting} == {200}
        assert (await gateway.call("GET", "/api/v1/quota", user))[0] == 200
        assert load.running == 0


async def test_what_nobody_foresaw_is_500_without_details(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Broken:
        async def quota(self, identity: Any) -> Any:
            raise RuntimeError("secret internal detail")

    def adjust(services: GatewayServices) -> GatewayServices:
        return replace(services, library=Broken())  # type: ignore[arg-type]  # one method is asked

    async with running_gateway(tmp_path_factory.mktemp("broken"), adjust=adjust) as gateway:
        user = await gateway.sign_up()
        status, answer = await gateway.call("GET", "/api/v1/quota", user)
        assert (status, answer["code"], answer["reason"]) == (500, 50001, "internal")
        assert "secret internal detail" not in json.dumps(answer)
        assert answer["request_id"]
        assert (await gateway.call("GET", "/api/v1/auth/me", user))[0] == 200


async def test_a_dead_cache_slows_nothing_down_to_a_stop(tmp_path_factory: pytest.TempPathFactory) -> None:
    class DeadCache:
        def __getattr__(self, name: str) -> Any:
            async def down(*_: Any, **__: Any) -> Any:
                raise DependencyDown("the cache does not answer")

            return down

    def adjust(services: GatewayServices) -> GatewayServices:
        return replace(services, cache=DeadCache())

    async with running_gateway(tmp_path_factory.mktemp("cacheless"), adjust=adjust, requests_per_minute=20) as gateway:
        user = await gateway.sign_up()
        assert (await gateway.call("GET", "/api/v1/quota", user))[0] == 200
        status, answer = await gateway.call("POST", "/api/v1/ws/ticket", user)
        assert (status, answer["code"]) == (503, 50302)
        statuses = [(await gateway.call("GET", "/api/v1/quota", user))[0] for _ in range(60)]
        assert 429 in statuses  # each process goes on counting by itself


async def test_metrics_name_routes_and_never_ids(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    task = await gateway.submitted(user)
    await gateway.call("GET", f"/api/v1/downloads/{task.id}", user)
    await gateway.call("GET", "/api/v1/a-path-of-my-own", user)
    async with gateway.http.get(gateway.base + "/metrics") as answer:
        text = await answer.text()
    assert 'http_requests_total{method="GET",route="/api/v1/downloads/{task_id}",status="200"}' in text
    assert task.id not in text
    assert "a-path-of-my-own" not in text


async def test_a_method_nobody_knows_is_405_with_allow(gateway: RunningGateway) -> None:
    async with gateway.http.put(gateway.base + "/api/v1/quota") as answer:
        assert (answer.status, answer.headers["Allow"], (await answer.json())["code"]) == (405, "GET", 40501)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/api/v1/download/file?history_id=1", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD"),
        ("PATCH", "/api/v1/download", "POST"),
        ("POST", "/api/v1/auth/sessions/1", "DELETE"),
    ],
)
async def test_allow_names_every_method_of_the_address(
    gateway: RunningGateway, method: str, path: str, allow: str
) -> None:
    user = await gateway.sign_up()
    async with gateway.http.request(method, gateway.base + path, headers=user.headers) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allow)


async def test_bounds_stand_in_the_contract_under_names_that_readers_know(gateway: RunningGateway) -> None:
    _, contract = await gateway.call("GET", "/openapi.json")
    parameters = contract["paths"]["/api/v1/history"]["get"]["parameters"]
    page = next(one["schema"] for one in parameters if one["name"] == "page")
    assert (page["type"], page["minimum"], page["maximum"]) == ("integer", 1, 1_000_000)
    assert contract["components"]["schemas"]["FileTicketBody"]["properties"]["history_id"]["maximum"] == 2**63 - 1
    text = json.dumps(contract)
    assert not re.search(r'"(?:ge|le|gt|lt)":|\d\.0\b(?!")|\de\+?\d', text)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
async def test_the_scheme_of_the_token_may_be_of_any_case(gateway: RunningGateway, scheme: str) -> None:
    user = await gateway.sign_up()
    headers = {"Authorization": f"{scheme} {user.access_token}"}
    assert (await gateway.call("GET", "/api/v1/auth/me", headers=headers))[0] == 200


async def test_the_page_compressed_and_plain_are_two_versions(gateway: RunningGateway) -> None:
    url = gateway.base + "/static/assets/app-1a2b.js"
    tags: dict[str, str] = {}
    for encoding in ("gzip", "identity"):
        async with gateway.http.get(url, headers={"Accept-Encoding": encoding}) as answer:
            assert answer.headers.get("Content-Encoding", "identity") == encoding
            tags[encoding] = answer.headers["ETag"]
    assert tags["gzip"] != tags["identity"]
    for asked, known, status in (("gzip", "gzip", 304), ("identity", "identity", 304), ("identity", "gzip", 200)):
        headers = {"Accept-Encoding": asked, "If-None-Match": tags[known]}
        async with gateway.http.get(url, headers=headers) as answer:
            assert (answer.status, answer.headers["ETag"]) == (status, tags[asked])


async def test_a_long_if_match_is_still_a_condition(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    task = await gateway.finished(user, b"a film")
    url = f"{gateway.base}/api/v1/download/file?history_id={task.history_id}"
    for value, status in (('"' + "y" * 5000 + '"', 412), ('"' + "y" * 5000 + '", *', 412)):
        async with gateway.http.get(url, headers={**user.headers, "If-Match": value}) as answer:
            assert answer.status == status
