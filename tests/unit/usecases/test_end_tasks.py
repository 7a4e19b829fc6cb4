"""A task that loses a cancellation still ends."""

from __future__ import annotations

import asyncio

import pytest

from vasset.usecases import end_tasks as module
from vasset.usecases.end_tasks import end_tasks


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_a_swallowed_cancellation_is_repeated(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def loop() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallowed == lost:
                    raise
                swallowed += 1

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_tasks([task])
    assert task.cancelled()
    assert swallowed == lost


async def test_what_a_task_raised_meanwhile_is_dropped() -> None:
    async def fail() -> None:
        raise ValueError

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    await end_tasks([task])
