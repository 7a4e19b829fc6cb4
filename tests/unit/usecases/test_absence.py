"""Leaving alone what does not answer: one watch, quick forgiveness, a quiet end."""

from __future__ import annotations

import asyncio
import time

import pytest

from vasset.usecases import absence
from vasset.usecases.absence import Absence


class Server:
    def __init__(self) -> None:
        self.is_down = True
        self.asked = 0

    async def answer(self) -> None:
        self.asked += 1
        if self.is_down:
            raise OSError("connection refused")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absence, "EVERY_SECONDS", 0.01)


async def test_it_lasts_until_the_first_answer_and_can_begin_again() -> None:
    server = Server()
    away = Absence("server", server.answer)
    for _ in range(2):
        server.is_down = True
        for _ in range(100):
            away.begin(OSError())  # many requests fail at once; one watch asks
        before, since = server.asked, time.monotonic()
        async with asyncio.timeout(5):
            while server.asked < before + 5:
                await asyncio.sleep(0.01)
        assert away.is_on
        assert server.asked - before <= (time.monotonic() - since) / absence.EVERY_SECONDS + 1
        server.is_down = False
        async with asyncio.timeout(5):
            while away.is_on:
                await asyncio.sleep(0.01)
    asked = server.asked
    await asyncio.sleep(0.05)
    assert server.asked == asked
    await away.close()


async def test_closing_ends_the_watch() -> None:
    server = Server()
    away = Absence("server", server.answer)
    away.begin(OSError())
    await away.close()
    asked = server.asked
    await asyncio.sleep(0.05)
    assert server.asked == asked
    assert not away.is_on
