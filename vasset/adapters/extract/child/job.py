"""One child's life: confined, it takes one job after another and answers each with events and a last word."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from vasset.adapters.extract.child import limits
from vasset.adapters.extract.messages import LineSocket, MessageTooLarge

Emit = Callable[[dict[str, Any]], None]
UNEXPLAINED = frozenset({"other", "internal", "extractor_broken"})  # somebody will want to know where


def live(connection: socket.socket, settings: dict[str, Any]) -> NoReturn:
    """Serve jobs until the server closes the connection. Never returns into the nursery's stack."""
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        limits.confine(memory_mib=settings["memory_mib"], max_file_bytes=settings["max_file_bytes"])
        random.seed()
        _serve(LineSocket(connection), settings)
        code = 0
    except (ConnectionError, KeyboardInterrupt):
        code = 0
    except BaseException:
        traceback.print_exc(limit=-3)
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _serve(line: LineSocket, settings: dict[str, Any]) -> None:
    while (job := line.receive()) is not None:
        limits.allow_cpu_seconds(float(job["cpu_seconds"]))
        answer = _run(job, settings, line.send)
        answer["private_mib"] = limits.private_mib()
        if job["verb"] == "extract" and not settings["lasting"] and answer["event"] == "done":
            _expect_postprocessing(answer["result"], settings)
        line.send(answer)


def _expect_postprocessing(extraction: dict[str, Any], settings: dict[str, Any]) -> None:
    """This child will finish what it found, as soon as it has been fetched."""
    if extraction["finished_ext"] is None:
        from vasset.adapters.extract.child.warm import ask_ffmpeg

        ask_ffmpeg(settings)


def _run(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    from vasset.adapters.extract.child.failure import Failure, classify
    from vasset.adapters.extract.child.log import forget, heard
    from vasset.adapters.extract.messages import encode

    forget()
    try:
        answer = {"event": "done", "result": _verb(job["verb"])(job, settings, emit)}
        encode(answer)
    except MessageTooLarge:
        return Failure("extraction", "The page describes more than one answer may hold.").as_message()
    except Exception as error:
        failure = classify(error, heard())
        if failure.error == "extraction" and failure.kind in UNEXPLAINED:
            sys.stderr.write(f"error {job.get('task_id') or '-'} {type(error).__name__}: {_place(error)}\n")
        return failure.as_message()
    return answer


def _verb(name: str) -> Callable[[dict[str, Any], dict[str, Any], Emit], dict[str, Any]]:
    from vasset.adapters.extract.child import describe, extract, native, postprocess, record, runtimes, selftest

    verbs = {
        "describe": describe.describe,
        "extract": extract.extract,
        "native": native.download,
        "record": record.record,
        "postprocess": postprocess.postprocess,
        "selftest": selftest.selftest,
        "runtimes": runtimes.runtimes,
    }
    return verbs[name]


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in reversed(frames[-4:]))  # noqa: PTH119
