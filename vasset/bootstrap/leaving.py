"""The end of a process that was told to stop: it comes, whatever still hangs, and the log says what hung."""

from __future__ import annotations

import asyncio
import faulthandler
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
    while (frame := getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)) is not None:
        yield f'  File "{frame.f_code.co_filename}", line {frame.f_lineno} in {frame.f_code.co_name}\n'
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
