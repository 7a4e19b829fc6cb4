"""How long one attempt may last: as long as it gets on.

A film of 4 GB at 16 Mbit/s takes over half an hour and is healthy all the time, so the bound is on time *without progress*: new bytes, or
another phase. Bytes below what was there before are no progress, or a site that starts over for ever would never be stopped. The bound on
the whole attempt is for what gets on and never ends; reaching it costs the task nothing: what there is stays, another attempt goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vasset.domain.errors import TaskError, TaskTimedOut
from vasset.usecases.end_tasks import end_tasks

Result = TypeVar("Result")
LOOKS_PER_BOUND = 20  # a bound is kept to a twentieth of itself
MOST_SECONDS_BETWEEN_LOOKS = 5.0


class TurnIsOver(TaskError):
    """The attempt took as long as one may at a stretch; the next one goes on with what there is."""


@dataclass(slots=True)
class AttemptBound:
    """Pure: moments come from outside."""

    still_seconds: float
    total_seconds: float
    now: float
    _best: int = -1
    _doing: str = ""
    _still_until: float = field(init=False)
    _total_until: float = field(init=False)

    def __post_init__(self) -> None:
        self._still_until = self.now + self.still_seconds
        self._total_until = self.now + self.total_seconds

    def observe(self, now: float, downloaded_bytes: int, doing: str) -> None:
        if downloaded_bytes > self._best or doing != self._doing:
            self._best, self._doing = max(self._best, downloaded_bytes), doing
            self._still_until = max(self._still_until, now + self.still_seconds)

    def allow(self, now: float, seconds: float) -> None:
        """Something begins that has a bound of its own and may be still for all of it."""
        self._still_until = max(self._still_until, now + seconds + self.still_seconds)
        self._total_until += seconds

    def check(self, now: float) -> float:
        """Seconds until it has to be looked again. Raises what the attempt ends with."""
        if now >= self._still_until:
            raise TaskTimedOut(
                f"nothing of the video arrived for {self.still_seconds / 60:g} minutes; the attempt was stopped",
                retryable=True,
            )
        if now >= self._total_until:
            raise TurnIsOver()
        left = min(self._still_until, self._total_until) - now
        return min(left, self.still_seconds / LOOKS_PER_BOUND, MOST_SECONDS_BETWEEN_LOOKS)


async def bounded(
    work: Coroutine[Any, Any, Result], bound: AttemptBound, *, look: Callable[[], tuple[int, str]]
) -> Result:
    """``work``'s result, unless ``bound`` ends it first. ``look`` answers the bytes that are there and what is being done."""
    working, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    try:
        while not working.done():
            bound.observe(loop.time(), *look())
            await asyncio.wait({working}, timeout=bound.check(loop.time()))
    except (TaskTimedOut, TurnIsOver, asyncio.CancelledError):
        await end_tasks([working])
        if working.cancelled() or working.exception() is not None:
            raise
        # A step that is never interrupted ended although it was asked to stop: its result stands.
        if (current := asyncio.current_task()) is not None:
            current.uncancel()
    return working.result()
