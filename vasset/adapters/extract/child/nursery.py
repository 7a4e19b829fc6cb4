"""The process that has yt-dlp loaded and forks children from itself: 5 ms and a few shared pages each instead of an import.

It runs no job and opens no connection. It is the parent of every child, so it alone may kill by number: a number is not
reused before it has been waited for. When the server ends, the control socket closes and everything below ends too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from typing import Any

from vasset.adapters.extract.child import limits, warm
from vasset.adapters.extract.messages import MAX_CONTROL_BYTES, decode, encode


def serve(descriptor: int) -> None:
    """Load yt-dlp, say so, then fork and reap until the server closes the control socket."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    gc.disable()  # while there are only modules: it would walk all of them again and again
    warm.load_libraries()
    line = control.recv(MAX_CONTROL_BYTES)
    if not line:
        return  # started ahead of a need that did not come
    settings = decode(line)
    os.environ["PATH"] = settings["programs"]
    limits.become_subreaper()
    version = _load(settings)
    control.send(encode({"event": "ready", "version": version}))
    Nursery(control, settings).run()


def _load(settings: dict[str, Any]) -> str:
    if path := settings.get("ytdlp_path"):
        sys.path.insert(0, path)
    version = warm.load(settings)
    if settings["lasting"]:
        gc.collect()
    gc.freeze()  # the collector's marks would unshare every page
    gc.enable()
    return version


class Nursery:
    def __init__(self, control: socket.socket, settings: dict[str, Any]) -> None:
        self._control = control
        self._settings = settings
        self._children: dict[int, int] = {}  # process id → the server's number for it
        self._bell, ringer = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(ringer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._bell], [], [])
            if self._bell in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._bell, 4096)
                self._reap()
            if self._control.fileno() in ready and not self._obey():
                self._end()

    def _obey(self) -> bool:
        try:
            line, descriptors, _, _ = socket.recv_fds(self._control, MAX_CONTROL_BYTES, 1)
        except ConnectionError:
            return False
        if not line:
            return False
        order = decode(line)
        if order["order"] == "fork":
            self._fork(int(order["id"]), descriptors[0])
        elif order["order"] == "kill":
            for process_id, number in self._children.items():
                if number == order["id"]:
                    _kill_group(process_id)
        return True

    def _fork(self, number: int, descriptor: int) -> None:
        process_id = os.fork()
        if process_id == 0:
            self._control.close()
            signal.set_wakeup_fd(-1)
            from vasset.adapters.extract.child.job import live

            live(socket.socket(fileno=descriptor), self._settings)
        os.close(descriptor)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(process_id, process_id)
        self._children[process_id] = number
        self._tell({"event": "forked", "id": number, "process_id": process_id})

    def _reap(self) -> None:
        while True:
            try:
                process_id, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process_id == 0:
                return
            number = self._children.pop(process_id, None)
            if number is None:
                continue  # an orphan of a child: ffmpeg, deno
            _kill_group(process_id)
            code = os.waitstatus_to_exitcode(status)
            self._tell({"event": "exit", "id": number, "code": code})

    def _tell(self, event: dict[str, Any]) -> None:
        try:
            self._control.send(encode(event))
        except ConnectionError:
            self._end()

    def _end(self) -> None:
        for process_id in self._children:
            _kill_group(process_id)
        os._exit(0)


def _kill_group(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)
