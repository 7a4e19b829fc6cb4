"""End background tasks for sure.

``asyncio.wait_for`` of Python 3.11, which database and Redis drivers use, loses a cancellation that coincides with its result
(cpython#86296). A loop around such a call then goes on for ever, and whoever waits for its end waits as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 0.5


async def end_tasks(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel, wait, and cancel again whoever swallowed it. What a task raised is dropped, except by being cancelled ourselves."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        ended, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
        for task in ended:
            if not task.cancelled():
                task.exception()
