"""Two users never see, steer, read or even learn of each other's downloads (P7)."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Service
from tests.support.origin import Origin

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNKNOWN_TASK = "00000000-0000-4000-8000-000000000000"


async def test_another_users_download_looks_like_one_that_never_was(service: Service, origin: Origin) -> None:
    task, _ = await service.user.completed(origin.url("progressive_mp4.html"))
    bob = await service.anonymous.register("bob@example.test")
    for theirs, unknown in (
        (("GET", f"/api/v1/downloads/{task['task_id']}"), ("GET", f"/api/v1/downloads/{UNKNOWN_TASK}")),
        *(
            (("POST", f"/api/v1/downloads/{task['task_id']}/{verb}"), ("POST", f"/api/v1/downloads/{UNKNOWN_TASK}/{verb}"))
            for verb in ("cancel", "pause", "resume", "finish", "retry", "keep")
        ),
        (("GET", f"/api/v1/download/file?history_id={task['history_id']}"), ("GET", "/api/v1/download/file?history_id=999999")),
        (("HEAD", f"/api/v1/download/file?history_id={task['history_id']}"), ("HEAD", "/api/v1/download/file?history_id=999999")),
        (("DELETE", f"/api/v1/history/{task['history_id']}"), ("DELETE", "/api/v1/history/999999")),
    ):  # fmt: skip
        answers = [await bob.call(*theirs), await bob.call(*unknown)]
        assert [answer.status for answer in answers] == [404, 404], theirs
        for answer in answers:
            answer.json.pop("request_id", None)
        assert answers[0].json == answers[1].json, theirs
    for listing in ("/api/v1/downloads", "/api/v1/history"):
        assert (await bob.call("GET", listing)).data["total"] == 0
    assert (await bob.call("GET", "/api/v1/quota")).data["daily_used"] == 0
    ticket = await bob.call("POST", "/api/v1/download/ticket", json={"history_id": task["history_id"]})
    assert ticket.status == 404
    assert (await service.user.file(task["history_id"])).status == 200, "the owner's file was touched"


async def test_without_a_token_nothing_is_answered(service: Service) -> None:
    for method, path in (("GET", "/api/v1/downloads"), ("POST", "/api/v1/download"), ("GET", "/api/v1/history")):
        assert (await service.anonymous.call(method, path)).status == 401
