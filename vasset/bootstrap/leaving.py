"""The end of a process that was told to stop: it comes, whatever still hangs, and the log says what hung."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import inspect
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

CLOSING_SECONDS = 8.0
"""What closing connections and children may take after the drain; an orchestrator's own limit is 30 s."""


def end_within(seconds: float) -> None:
    """Leave the process with exit code 1 unless it ends by itself before; a thread watches, so a blocked loop cannot prevent it.

    Nothing is lost by it: every promise holds at ``kill -9``, and leases end by themselves.
    """
    timer = threading.Timer(seconds, _give_up, (asyncio.get_running_loop(), seconds))
    timer.daemon = True
    timer.start()


def _give_up(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    try:
        for task in asyncio.all_tasks(loop):
            sys.stderr.write(f"task {task.get_name()}:\n{''.join(_awaiting(task))}")
        faulthandler.dump_traceback(all_threads=True)
        sys.stderr.write(
            f"vasset: still not closed {seconds:.0f} s after it was told to stop; what it waited for stands above.\n"
        )
        sys.stderr.flush()
    finally:
        os._exit(1)


def _awaiting(task: asyncio.Task[Any]) -> Iterator[str]:
    """Where each coroutine of the chain waits, the outermost first; ``Task.print_stack`` knows only that one."""
    waiting: Any = task.get_coro()
    while waiting is not None:
        if type(waiting).__name__ in {"async_generator_asend", "async_generator_athrow", "anext_awaitable"}:
            waiting = next((one for one in gc.get_referents(waiting) if inspect.isasyncgen(one)), None)
        frame = next((found for name in _FRAMES if (found := getattr(waiting, name, None)) is not None), None)
        if frame is not None:
            yield f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n'
        waiting = next((found for name in _AWAITED if (found := getattr(waiting, name, None)) is not None), None)


_FRAMES = ("cr_frame", "gi_frame", "ag_frame")
_AWAITED = ("cr_await", "gi_yieldfrom", "ag_await")
