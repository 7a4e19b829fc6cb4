"""The server's end of the nursery process: start it, have it fork, kill and reap children, notice its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from vasset.adapters.extract.messages import MAX_CONTROL_BYTES, MAX_MESSAGE_BYTES, decode, encode
from vasset.adapters.extract.spawned import Spawned, spawn
from vasset.domain.errors import ExtractionFailed
from vasset.telemetry.log import child_line

START_SECONDS = 60.0
STOP_SECONDS = 5.0
MAX_STDERR_LINE = 4096

log = structlog.get_logger(__name__)


def crashed(what: str = "Reading the page crashed; it is tried again.") -> ExtractionFailed:
    return ExtractionFailed(what, kind="crashed", retryable=True)


@dataclass(frozen=True, slots=True)
class NurserySettings:
    """``programs`` is the children's PATH. ``ytdlp_path`` comes first on their import path (the update lane).

    ``lasting`` has everything prepared once that any child would prepare; a nursery for one download prepares what that needs.
    """

    programs: Path
    deno: Path | None
    memory_mib: int = 1024
    max_file_bytes: int = 64 * 2**30
    plugins: Path | None = None
    ytdlp_path: Path | None = None
    ca_file: Path | None = None
    lasting: bool = True

    def as_message(self) -> dict[str, Any]:
        paths = {name: getattr(self, name) for name in ("programs", "deno", "plugins", "ytdlp_path", "ca_file")}
        named = {name: str(path.resolve()) if path is not None else None for name, path in paths.items()}
        numbers = {"memory_mib": self.memory_mib, "max_file_bytes": self.max_file_bytes}
        return named | numbers | {"lasting": self.lasting}


class ChildLink:
    """One child: a line each way. ``ended`` is done when the nursery has reaped it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.process_id: int | None = None
        self.jobs = 0
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._writer = writer

    async def send(self, message: Mapping[str, Any]) -> None:
        self._writer.write(encode(message))
        await self._writer.drain()

    async def receive(self) -> dict[str, Any]:
        """The next message. Raises ``ExtractionFailed(kind="crashed")`` at the end of the stream or of the size limit."""
        try:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise crashed()
            return decode(line)
        except (ValueError, ConnectionError) as error:  # readline answers ValueError beyond the limit
            raise crashed() from error

    def close(self) -> None:
        self._writer.close()


class Nursery:
    """One process with yt-dlp loaded. ``version`` is known once started; ``alive`` turns false for good."""

    def __init__(self, spawned: Spawned, stderr: asyncio.StreamReader, settings: NurserySettings, version: str) -> None:
        self.settings = settings
        self.version = version
        self.alive = True
        self.children: dict[int, ChildLink] = {}
        self._process = spawned.process
        self._control = spawned.control
        self._next_number = 1
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._control.fileno(), self._hear)
        self._stderr = asyncio.ensure_future(_pump(stderr))

    @property
    def process_id(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, settings: NurserySettings) -> Nursery:
        """Raises ``ExtractionFailed(kind="crashed")`` when yt-dlp cannot be loaded."""
        spawned = spawn()
        control = spawned.control
        control.setblocking(False)
        stderr = asyncio.StreamReader(limit=MAX_STDERR_LINE)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stderr), spawned.process.stderr)
            await loop.sock_sendall(control, encode(settings.as_message(), limit=MAX_CONTROL_BYTES))
            async with asyncio.timeout(START_SECONDS):
                line = await loop.sock_recv(control, MAX_CONTROL_BYTES)
            version = str(decode(line)["version"])
        except (TimeoutError, ValueError, KeyError, OSError) as error:
            control.close()
            await _end(spawned)
            complaint = (await stderr.read(MAX_STDERR_LINE)).decode("utf-8", "replace")[-800:]
            log.error("the extraction nursery did not start", stderr=complaint)
            raise crashed("yt-dlp could not be loaded; the log says why") from error
        except BaseException:
            control.close()
            await _end(spawned)  # whoever stopped waiting for it
            raise
        return cls(spawned, stderr, settings, version)

    async def fork(self) -> ChildLink:
        """A fresh child, ready for its first job."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=MAX_MESSAGE_BYTES + 1)
            link = ChildLink(self._next_number, reader, writer)
            self._next_number += 1
            if not self.alive:
                writer.close()
                raise crashed()
            self.children[link.number] = link
            order = encode({"order": "fork", "id": link.number})
            socket.send_fds(self._control, [order], [theirs.fileno()])
        except OSError as error:
            raise crashed() from error
        finally:
            theirs.close()
        return link

    def kill(self, link: ChildLink) -> None:
        """End the child and everything it started, at once."""
        link.close()
        if self.alive and not link.ended.done():
            with contextlib.suppress(OSError):
                self._control.send(encode({"order": "kill", "id": link.number}))

    async def stop(self) -> None:
        """Close the control socket: the nursery kills every child and exits."""
        self._buried()
        ending = asyncio.ensure_future(asyncio.to_thread(self._process.wait))
        if ending not in (await asyncio.wait({ending}, timeout=STOP_SECONDS))[0]:
            self._process.kill()
        await ending
        await asyncio.gather(self._stderr, return_exceptions=True)

    def _hear(self) -> None:
        try:
            line = self._control.recv(MAX_CONTROL_BYTES)
        except BlockingIOError:
            return
        except OSError:
            line = b""
        if not line:
            log.warning("the extraction nursery ended", children=len(self.children))
            self._buried()
            return
        message = decode(line)
        if message["event"] == "forked" and (link := self.children.get(message["id"])):
            link.process_id = int(message["process_id"])
        elif message["event"] == "exit":
            self._ended(message["id"], int(message["code"]))

    def _ended(self, number: int, code: int) -> None:
        link = self.children.pop(number, None)
        if link is not None and not link.ended.done():
            link.ended.set_result(code)

    def _buried(self) -> None:
        if not self.alive:
            return
        self.alive = False
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        for link in self.children.values():
            if not link.ended.done():
                link.ended.set_result(-9)
            link.close()
        self.children.clear()


async def _pump(stream: asyncio.StreamReader) -> None:
    """What children print, one short line at a time, through the redacting log."""
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # a line beyond the limit was dropped
        if not line:
            return
        child_line("extraction", line.decode("utf-8", "replace"))


async def _end(spawned: Spawned) -> None:
    spawned.process.kill()
    await asyncio.to_thread(spawned.process.wait)
