"""The watch over sessions with open sockets: few questions, no false ends, none missed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import cast

from vasset.domain.errors import DependencyDown
from vasset.domain.ports import MAX_ASKED, Authority
from vasset.domain.user import Identity, Role
from vasset.gateway.live.session_watch import SessionWatch


class Sessions:
    """An authority that knows which sessions are alive, and sometimes nothing."""

    def __init__(self, alive: Collection[int]) -> None:
        self.living = set(alive)
        self.asked: list[int] = []
        self.is_down = False

    async def alive(self, session_ids: Collection[int]) -> frozenset[int]:
        self.asked.append(len(session_ids))
        if self.is_down:
            raise DependencyDown("auth")
        return frozenset(self.living & set(session_ids))


def of(session_id: int) -> Identity:
    return Identity(session_id // 2, Role.FREE, session_id)


async def rounds(sessions: Sessions, number: int) -> None:
    goal = len(sessions.asked) + number
    async with asyncio.timeout(10):
        while len(sessions.asked) < goal:
            await asyncio.sleep(0.001)


async def test_a_thousand_sockets_cost_two_questions_a_round() -> None:
    sessions = Sessions(range(1_000))
    watch = SessionWatch(cast("Authority", sessions), interval_seconds=0.01)
    ended: list[int] = []
    for number in [*range(1_000), *range(1_000)]:
        watch.add(of(number), lambda number=number: ended.append(number))  # type: ignore[misc]
    await rounds(sessions, 4)
    assert sessions.asked[:4] == [MAX_ASKED] * 4
    assert ended == []
    sessions.living -= {3, 700}
    await rounds(sessions, 4)
    assert {3, 700} == set(ended)
    assert ended.count(3) >= 2  # both sockets of the session
    await watch.close()


async def test_an_authority_that_is_away_ends_nobody_and_is_asked_again() -> None:
    sessions = Sessions([1, 2])
    watch = SessionWatch(cast("Authority", sessions), interval_seconds=0.01)
    ended: list[int] = []
    removes = [watch.add(of(number), lambda number=number: ended.append(number)) for number in (1, 2)]  # type: ignore[misc]
    sessions.is_down = True
    sessions.living.discard(2)
    await rounds(sessions, 3)
    assert ended == []
    sessions.is_down = False
    async with asyncio.timeout(10):
        while not ended:
            await asyncio.sleep(0.001)
    assert set(ended) == {2}
    for remove in removes:
        remove()
    asked = len(sessions.asked)
    await asyncio.sleep(0.05)
    assert len(sessions.asked) <= asked + 1  # nobody listens: nothing is asked
    watch.add(of(1), lambda: ended.append(1))
    await rounds(sessions, 2)  # and it starts again
    await watch.close()
