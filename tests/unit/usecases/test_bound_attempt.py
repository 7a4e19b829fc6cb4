"""An attempt lasts as long as it gets on; a bound on the whole of it takes nothing from the task."""

from __future__ import annotations

import asyncio

import pytest

from vasset.domain.errors import TaskTimedOut
from vasset.usecases.bound_attempt import AttemptBound, TurnIsOver, bounded

HALF_HOUR = 1_800.0


def bound(total: float = 1e9) -> AttemptBound:
    return AttemptBound(HALF_HOUR, total, 0.0)


def test_a_transfer_that_gets_on_may_take_hours() -> None:
    watched = bound()
    for minute in range(600):
        watched.observe(minute * 60.0, minute * 120_000_000, "downloading")
        watched.check(minute * 60.0)


def test_one_that_stands_still_is_stopped_and_tried_again() -> None:
    watched = bound()
    watched.observe(100.0, 5, "downloading")
    watched.observe(1_000.0, 5, "downloading")
    watched.check(100.0 + HALF_HOUR - 1)
    with pytest.raises(TaskTimedOut) as stopped:
        watched.check(100.0 + HALF_HOUR)
    assert stopped.value.retryable


def test_bytes_fetched_over_and_over_are_no_progress() -> None:
    watched = bound()
    watched.observe(0.0, 1_000, "downloading")
    for moment in range(0, 1_800, 10):
        watched.observe(float(moment), moment % 1_000, "downloading")
    with pytest.raises(TaskTimedOut):
        watched.check(HALF_HOUR)


def test_another_phase_is_progress() -> None:
    watched = bound()
    watched.observe(1_700.0, 0, "merging")
    watched.check(1_900.0)


def test_the_bound_on_the_whole_ends_a_turn_and_not_the_task() -> None:
    watched = bound(total=3_600.0)
    for moment in range(3_600):
        watched.observe(float(moment), moment, "downloading")
        watched.check(float(moment))
    with pytest.raises(TurnIsOver):
        watched.check(3_600.0)


def test_a_recording_may_be_still_for_as_long_as_it_may_last() -> None:
    watched = bound(total=3_600.0)
    watched.allow(10.0, 14_400.0)
    watched.check(14_400.0)


async def test_a_step_that_is_never_interrupted_ends_with_its_result() -> None:
    begun = asyncio.Event()

    async def work() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "published"
        return "never"

    now = asyncio.get_running_loop().time()
    running = asyncio.create_task(bounded(work(), AttemptBound(HALF_HOUR, HALF_HOUR, now), look=lambda: (0, "")))
    await begun.wait()
    running.cancel()
    assert await running == "published"
