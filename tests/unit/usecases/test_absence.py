"""Leaving alone what does not answer: one watch, quick forgiveness, a quiet end."""

from __future__ import annotations

import asyncio

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
        before = server.asked
        await asyncio.sleep(0.1)
        assert away.is_on
        assert 2 <= server.asked - before <= 11
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
