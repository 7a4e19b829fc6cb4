"""The contract of ARCHITECTURE.md, asked over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC
from email.utils import parsedate_to_datetime

import pytest
import pytest_asyncio

from tests.support.gateway import PASSWORD, RunningGateway, running_gateway

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


async def test_register_login_refresh_and_logout_follow_the_contract(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    status, answer = await gateway.call("POST", "/api/v1/auth/login", json={"email": user.email, "password": PASSWORD})
    assert status == 200
    data = answer["data"]
    assert answer["code"] == 0
    assert set(data) == {
        "user", "access_token", "refresh_token", "token_type", "expires_in", "refresh_expires_in",
    }  # fmt: skip
    assert set(data["user"]) == {"id", "email", "nickname", "role", "created_at"}
    status, answer = await gateway.call("POST", "/api/v1/auth/refresh", json={"refresh_token": data["refresh_token"]})
    assert status == 200
    fresh = {"Authorization": f"Bearer {answer['data']['access_token']}"}
    assert (await gateway.call("GET", "/api/v1/auth/me", headers=fresh))[0] == 200
    assert (await gateway.call("POST", "/api/v1/auth/logout", headers=fresh))[0] == 200
    status, answer = await gateway.call("GET", "/api/v1/auth/me", headers=fresh)
    assert (status, answer["code"], answer["reason"]) == (401, 40101, "token_revoked")


async def test_parse_answers_media_and_playlists(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    status, answer = await gateway.call("POST", "/api/v1/parse", user, json={"url": "https://site.test/v/1"})
    assert status == 200
    assert answer["data"]["title"] == "Ein schöner Film 🎬"
    assert answer["data"]["formats"][0]["height"] == 360
    assert answer["data"]["qualities"] == [{"quality": "360p", "label": "360p", "size_bytes": 1000}]
    status, answer = await gateway.call(
        "POST", "/api/v1/parse", user, json={"url": "https://site.test/list", "playlist_page": 2}
    )
    assert (status, answer["data"]["kind"], len(answer["data"]["entries"])) == (200, "playlist", 2)


async def test_a_site_nobody_knows_is_422(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    status, answer = await gateway.call("POST", "/api/v1/parse", user, json={"url": "https://elsewhere.test/"})
    assert (status, answer["code"], answer["reason"]) == (422, 42201, "unsupported_site")


async def test_download_is_accepted_listed_cancelled_and_retried(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    body = {"url": "https://site.test/v/1", "mode": "archive_download", "quality": "1080p", "format": "mkv"}
    async with gateway.http.post(gateway.base + "/api/v1/download", json=body, headers=user.headers) as answer:
        assert answer.status == 202
        data = (await answer.json())["data"]
        assert answer.headers["Location"] == f"/api/v1/downloads/{data['task_id']}"
    assert data["status"] == "queued"
    path = f"/api/v1/downloads/{data['task_id']}"
    status, answer_body = await gateway.call("GET", path, user)
    task = answer_body["data"]
    assert (status, task["history_id"], task["mode"], task["quality"], task["format"]) == (
        200, data["history_id"], "archive_download", "1080p", "mkv",
    )  # fmt: skip
    status, answer_body = await gateway.call("GET", "/api/v1/downloads?status=queued&status=running", user)
    assert [item["task_id"] for item in answer_body["data"]["items"]] == [data["task_id"]]
    assert (await gateway.call("GET", "/api/v1/downloads?status=failed", user))[1]["data"]["total"] == 0
    for action, expected in [
        ("pause", "paused"),
        ("resume", "queued"),
        ("cancel", "cancelled"),
        ("cancel", "cancelled"),
    ]:
        status, answer_body = await gateway.call("POST", f"{path}/{action}", user)
        assert (status, answer_body["data"]["status"]) == (200, expected), action
    status, answer_body = await gateway.call("POST", f"{path}/resume", user)
    assert (status, answer_body["code"]) == (409, 40904)
    status, answer_body = await gateway.call("POST", f"{path}/retry", user)
    assert (status, answer_body["data"]["status"]) == (200, "queued")


async def test_fifty_parallel_requests_with_one_key_make_one_task_and_one_debit(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    headers = {**user.headers, "Idempotency-Key": "the same key"}

    async def submit(url: str) -> tuple[int, bytes]:
        async with gateway.http.post(gateway.base + "/api/v1/download", json={"url": url}, headers=headers) as answer:
            return answer.status, await answer.read()

    answers = await asyncio.gather(*(submit("https://site.test/v/1") for _ in range(50)))
    assert len(set(answers)) == 1
    assert answers[0][0] == 202
    assert (await gateway.call("GET", "/api/v1/downloads", user))[1]["data"]["total"] == 1
    assert (await gateway.call("GET", "/api/v1/quota", user))[1]["data"]["daily_used"] == 1
    status, _ = await submit("https://site.test/v/2")
    assert status == 422


async def test_quota_refuses_the_request_over_the_limit(gateway: RunningGateway) -> None:
    await gateway.sign_up()  # never the first account, which is the administrator
    user = await gateway.sign_up()
    answers = await asyncio.gather(
        *(gateway.call("POST", "/api/v1/download", user, json={"url": "https://site.test/v/1"}) for _ in range(60))
    )
    statuses = [status for status, _ in answers]
    assert (statuses.count(202), statuses.count(429)) == (50, 10)
    refusal = next(body for status, body in answers if status == 429)
    assert (refusal["code"], refusal["reason"]) == (42902, "quota_exceeded")
    quota = (await gateway.call("GET", "/api/v1/quota", user))[1]["data"]
    assert (quota["daily_limit"], quota["daily_used"], quota["remaining"]) == (50, 50, 0)


async def test_history_searches_pages_and_deletes(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    done = await gateway.finished(user, b"bytes")
    running = await gateway.submitted(user)
    status, answer = await gateway.call("GET", "/api/v1/history?page=1&per_page=1", user)
    assert (status, answer["data"]["total"], len(answer["data"]["items"])) == (200, 2, 1)
    status, answer = await gateway.call("GET", "/api/v1/history?q=film", user)
    entry = next(item for item in answer["data"]["items"] if item["id"] == done.history_id)
    assert (entry["has_file"], entry["file_size"], entry["status"]) == (True, 5, "completed")
    assert (await gateway.call("DELETE", f"/api/v1/history/{running.history_id}", user))[0] == 409
    assert (await gateway.call("DELETE", f"/api/v1/history/{done.history_id}", user))[0] == 200
    assert (await gateway.call("DELETE", f"/api/v1/history/{done.history_id}", user))[0] == 404
    assert (await gateway.call("GET", f"/api/v1/download/file?history_id={done.history_id}", user))[0] == 404


async def test_keep_turns_a_finished_quick_download_into_an_archive_one(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    done = await gateway.finished(user, b"bytes")
    status, answer = await gateway.call("POST", f"/api/v1/downloads/{done.id}/keep", user)
    assert (status, answer["data"]["mode"]) == (200, "archive_download")


async def test_statistics_and_sessions_describe_the_caller(gateway: RunningGateway) -> None:
    await gateway.sign_up()
    user = await gateway.sign_up()
    await gateway.finished(user, b"12345678")
    data = (await gateway.call("GET", "/api/v1/stats", user))[1]["data"]
    assert (data["tasks_by_status"], data["stored_bytes"], data["completed_today"]) == ({"completed": 1}, 8, 1)
    sessions = (await gateway.call("GET", "/api/v1/auth/sessions", user))[1]["data"]
    assert [session["current"] for session in sessions] == [True]
    assert (await gateway.call("DELETE", f"/api/v1/auth/sessions/{sessions[0]['id']}", user))[0] == 200
    assert (await gateway.call("GET", "/api/v1/stats", user))[0] == 401


async def test_only_an_administrator_invites_and_changes_roles(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with running_gateway(tmp_path_factory.mktemp("invite"), registration="invite") as gateway:
        admin = await gateway.sign_up()
        status, answer = await gateway.call("POST", "/api/v1/auth/invitations", admin)
        assert status == 200
        body = {"email": "guest@example.org", "password": PASSWORD, "nickname": "guest"}
        assert (await gateway.call("POST", "/api/v1/auth/register", json=body))[1]["code"] == 40302
        body["invitation"] = answer["data"]["invitation"]
        status, answer = await gateway.call("POST", "/api/v1/auth/register", json=body)
        assert status == 200
        guest = {"Authorization": f"Bearer {answer['data']['access_token']}"}
        path = f"/api/v1/auth/users/{answer['data']['user']['id']}/role"
        assert (await gateway.call("POST", "/api/v1/auth/invitations", headers=guest))[0] == 403
        assert (await gateway.call("PUT", path, headers=guest, json={"role": "admin"}))[0] == 403
        status, answer = await gateway.call("PUT", path, admin, json={"role": "premium"})
        assert (status, answer["data"]["role"]) == (200, "premium")


async def test_the_deprecated_alias_works_and_says_so(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    task = await gateway.submitted(user)
    for task_id, expected in [(task.id, 200), ("0" * 32, 404)]:
        async with gateway.http.get(f"{gateway.base}/api/v1/tasks/{task_id}", headers=user.headers) as answer:
            assert answer.status == expected
            assert answer.headers["X-API-Deprecated"] == "true"
            assert answer.headers["Link"] == f'</api/v2/downloads/{task_id}>; rel="successor-version"'
            assert parsedate_to_datetime(answer.headers["Sunset"]).tzinfo is UTC
    async with gateway.http.get(f"{gateway.base}/api/v1/tasks/a%0d%0ab%3e%22", headers=user.headers) as answer:
        assert answer.headers["Link"] == '</api/v2/downloads/a%0D%0Ab%3E%22>; rel="successor-version"'
    async with gateway.http.get(f"{gateway.base}/api/v1/downloads/{task.id}", headers=user.headers) as answer:
        assert not {"X-API-Deprecated", "Sunset", "Link"} & set(answer.headers)


async def test_the_second_version_answers_task_and_file_at_once(gateway: RunningGateway) -> None:
    user, stranger = await gateway.sign_up(), await gateway.sign_up()
    waiting, done = await gateway.submitted(user), await gateway.finished(user, b"a film", file_name="Ein Film.mp4")
    status, first = await gateway.call("GET", f"/api/v1/downloads/{waiting.id}", user)
    status, second = await gateway.call("GET", f"/api/v2/downloads/{waiting.id}", user)
    assert (status, second["data"]) == (200, {**first["data"], "file": None})
    status, answer = await gateway.call("GET", f"/api/v2/downloads/{done.id}", user)
    file = answer["data"]["file"]
    assert (status, file["name"], file["size_bytes"], file["hash_algorithm"]) == (200, "Ein Film.mp4", 6, "sha256")
    async with gateway.http.get(gateway.base + file["address"], headers=user.headers) as fetched:
        assert await fetched.read() == b"a film"
    assert (await gateway.call("GET", f"/api/v2/downloads/{done.id}", stranger))[0] == 404
    assert (await gateway.call("GET", f"/api/v2/downloads/{done.id}"))[0] == 401


async def test_todays_downloads_are_counted_where_the_prd_says(gateway: RunningGateway) -> None:
    user = await gateway.sign_up()
    key = f"quota:daily:{user.id}:{gateway.services.clock.now():%Y%m%d}"
    body = {"url": "https://site.test/v/1"}
    tasks = [(await gateway.call("POST", "/api/v1/download", user, json=body))[1]["data"]["task_id"] for _ in range(3)]
    assert await gateway.cache.get(key) == b"3"
    await gateway.call("POST", f"/api/v1/downloads/{tasks[0]}/cancel", user)
    assert await gateway.cache.get(key) is None, "a unit went back: the next who asks writes it anew"
    assert (await gateway.call("GET", "/api/v1/quota", user))[1]["data"]["daily_used"] == 2
    assert await gateway.cache.get(key) == b"2"
