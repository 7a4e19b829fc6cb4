"""The log follows a download: started, and how it ended, each line with task, user and redacted address (REQUIREMENTS I3)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from tests.unit.worker.conftest import Surroundings
from tests.unit.worker.test_pool import pool_of, running
from vasset.domain.errors import ExtractionFailed, VAssetError
from vasset.telemetry.log import configure_logging

Lines = Callable[[], list[dict[str, Any]]]
SIGNED = "http://site.test/watch?v=1&sig=c4n4ry"


@pytest.fixture
def lines() -> Iterator[Lines]:
    stream = io.StringIO()
    handlers = logging.getLogger().handlers[:]
    configure_logging(format="json", level="info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


async def run_one(around: Surroundings, failure: VAssetError | None = None) -> str:
    async def fail() -> None:
        if failure is not None:
            raise failure

    around.fetcher.on_result = fail
    task = await around.submit(1, url=SIGNED)
    async with running(pool_of(around, 1)):
        await around.until(lambda row: row.status not in ("queued", "running"), task.id)
    return task.id


async def test_a_download_is_seen_to_start_and_to_complete(around: Surroundings, lines: Lines) -> None:
    task_id = await run_one(around)
    said = [line for line in lines() if line["event"].startswith("download ")]
    assert [line["event"] for line in said] == ["download started", "download completed"]
    for line in said:
        assert line["task_id"] == task_id
        assert line["user_id"] == around.users[1]
        assert line["url"].startswith("http://site.test/watch")
        assert "c4n4ry" not in json.dumps(line)


async def test_a_failure_says_why_and_whether_it_is_the_last(around: Surroundings, lines: Lines) -> None:
    await run_one(around, ExtractionFailed("the site says no", retryable=False))
    [line] = [line for line in lines() if line["event"] == "download failed"]
    assert (line["level"], line["reason"], line["problem"]) == ("warning", "extraction_failed", "the site says no")
    assert line["user_id"] == around.users[1]


async def test_what_is_tried_again_is_not_called_failed(around: Surroundings, lines: Lines) -> None:
    await run_one(around, ExtractionFailed("try later", retryable=True))
    events = [line["event"] for line in lines()]
    assert "download will be tried again" in events
    assert "download failed" not in events


async def test_lines_of_others_on_its_behalf_say_whose_they_are(around: Surroundings, lines: Lines) -> None:
    async def speak() -> None:
        logging.getLogger("a.library").warning("something happened")

    around.fetcher.on_result = speak
    task = await around.submit(url=SIGNED)
    async with running(pool_of(around, 1)):
        await around.until(lambda row: row.status.is_terminal, task.id)
    [line] = [line for line in lines() if line["event"] == "something happened"]
    assert line["task_id"] == task.id
    assert line["user_id"] == around.users[0]
