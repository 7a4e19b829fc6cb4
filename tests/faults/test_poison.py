"""A download that takes its child down every time dies after four executions, and nobody beside it notices (P27)."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.conftest import Stage, assert_completed
from tests.support.databases import opened
from tests.support.extraction import PLUGINS
from tests.support.lying_origin import honest
from vasset.adapters.db.dead_letters import SqlDeadLetters

pytestmark = pytest.mark.xdist_group("poison")
EXECUTIONS = 4


async def test_a_poison_task_dies_after_four_executions_and_its_neighbours_are_unaffected(stage: Stage) -> None:
    body = stage.media.read("progressive.mp4")
    for number in range(6):
        stage.origin.routes[f"/v{number}.mp4"] = honest(body)
    neighbours = [stage.show(f"/v{number}.mp4") for number in range(6)]
    async with stage.running(extractor_plugins=str(PLUGINS)) as (server, user):
        poison = await user.submit(stage.origin.url("/vasset-test/crash"))
        accepted = await asyncio.gather(*(user.submit(url) for url in neighbours))
        for one in accepted:
            assert_completed(task := await user.ended(one["task_id"]))
            assert task["attempt"] == 1, "a neighbour was executed again"
            assert (await user.file(one["history_id"])).body == body
        dead = await user.ended(poison["task_id"])
        assert (dead["status"], dead["attempt"]) == ("failed", EXECUTIONS)
        assert dead["error"]["reason"] == "extraction_failed"
        assert (await user.call("GET", "/api/v1/quota")).data["daily_used"] == len(neighbours), "the debit was kept"
        assert await server.stop() == 0
    for number in range(6):
        assert stage.origin.sent_bytes[f"/v{number}.mp4"] < 2 * len(body), "a neighbour's bytes were fetched again"
    async with opened(stage.deployment.database_url, None) as database:
        letters = await SqlDeadLetters(database).list(limit=10)
    assert [letter.task_id for letter in letters] == [poison["task_id"]]
    await stage.healthy()
