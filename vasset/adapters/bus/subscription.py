"""Reading a Redis subscription: every message as it comes, and an end when the link is dead without saying so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

SPELL_SECONDS = 5.0
MESSAGES = frozenset({"message", "pmessage"})


async def read_messages(pubsub: Any, take: Callable[[bytes], Awaitable[None]]) -> NoReturn:
    """Give the data of every message to ``take``. Raises what redis-py raises, and ``TimeoutError`` when a ping stays unanswered.

    A black-holed link looks like one on which nothing happens, so silence of ``SPELL_SECONDS`` is asked into once. There is one timer a
    spell: redis-py's own, one a message beside its health check, cost more than decoding the messages does.
    """
    is_asked = False
    while True:
        heard = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SPELL_SECONDS):
                while True:
                    message = await pubsub.get_message(timeout=None)
                    heard += 1
                    if message is not None and message["type"] in MESSAGES:
                        await take(message["data"])
        if is_asked and not heard:
            raise TimeoutError("the subscription answers no ping")
        is_asked = not heard
        if is_asked:
            await pubsub.ping()
