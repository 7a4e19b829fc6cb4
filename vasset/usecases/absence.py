"""Leaving a dependency alone that does not answer, and finding out in the background when it does again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextvars import Context

import structlog

from vasset.usecases.end_tasks import end_tasks

log = structlog.get_logger(__name__)
EVERY_SECONDS = 0.5


class Absence:
    """One dependency of this process. Who meets a failure tells it by :meth:`begin`; while ``is_on`` nobody else need wait for another.

    A server that refuses connections costs next to nothing. One that accepts them and says nothing (frozen, black-holed) costs a timeout,
    and without this every request would pay it.
    """

    def __init__(self, what: str, ask: Callable[[], Awaitable[object]]) -> None:
        self._what = what
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None

    @property
    def is_on(self) -> bool:
        return self._asking is not None

    def begin(self, error: BaseException) -> None:
        if self._asking is None:
            log.warning("does not answer", part=self._what, error=type(error).__name__)
            self._asking = asyncio.create_task(
                self._wait_for_an_answer(), name=f"absence of {self._what}", context=Context()
            )  # a context of its own: what it logs is of no request

    async def close(self) -> None:
        if self._asking is not None:
            await end_tasks([self._asking])
            self._asking = None

    async def _wait_for_an_answer(self) -> None:
        since = time.monotonic()
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self._ask()
            except Exception as error:
                log.debug("still does not answer", part=self._what, error=type(error).__name__)
                continue
            log.info("answers again", part=self._what, seconds=round(time.monotonic() - since, 1))
            self._asking = None
            return
