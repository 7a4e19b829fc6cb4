"""An origin written on raw sockets: it can hold its breath, lie about ranges and lengths, cut, and change its mind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")


@dataclass
class Asked:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]

    def byte_range(self, size: int) -> tuple[int, int] | None:
        """First byte and the one after the last."""
        match = RANGE.match(self.headers.get("range", ""))
        if match is None:
            return None
        return int(match[1]), min(size, int(match[2]) + 1) if match[2] else size


@dataclass
class Answer:
    writer: asyncio.StreamWriter
    origin: LyingOrigin
    path: str

    async def head(self, status: str, **headers: object) -> None:
        lines = [f"HTTP/1.1 {status}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self.writer.drain()

    async def body(self, data: bytes) -> None:
        for start in range(0, len(data), 65_536):
            piece = data[start : start + 65_536]
            self.writer.write(piece)
            await self.writer.drain()
            await self.origin.note_sent(self.path, len(piece))

    def reset(self) -> None:
        self.writer.transport.abort()


Behaviour = Callable[[Asked, Answer], Awaitable[None]]


@dataclass
class LyingOrigin:
    """`routes` maps a path to its behaviour; `asked` and `sent_bytes` are the record; `reached` waits for a request."""

    routes: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sent_bytes: dict[str, int] = field(default_factory=dict)
    port: int = 0
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    def requests(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path and asked.method == "GET"]

    async def reached(self, path: str, times: int = 1, *, timeout_seconds: float = 30.0) -> None:
        """Return once `path` was asked for so often."""
        async with asyncio.timeout(timeout_seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests(path)) >= times)

    async def note_sent(self, path: str, size: int) -> None:
        async with self._arrived:
            self.sent_bytes[path] = self.sent_bytes.get(path, 0) + size
            self._arrived.notify_all()

    async def sent(self, path: str, size: int, *, timeout_seconds: float = 30.0) -> None:
        """Return once so many bytes of `path` have left."""
        async with asyncio.timeout(timeout_seconds), self._arrived:
            await self._arrived.wait_for(lambda: self.sent_bytes.get(path, 0) >= size)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if ":" in line}
            asked = Asked(method, path, headers)
            async with self._arrived:
                self.asked.append(asked)
                self._arrived.notify_all()
            answer = Answer(writer, self, path)
            behaviour = self.routes.get(path)
            if behaviour is None:
                await answer.head("404 Not Found", Content_Length=0)
            else:
                await behaviour(asked, answer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away: that is its right
        finally:
            writer.close()


@asynccontextmanager
async def running_lying_origin() -> AsyncIterator[LyingOrigin]:
    origin = LyingOrigin()
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.port = server.sockets[0].getsockname()[1]
    try:
        yield origin
    finally:
        server.close()


# --- behaviours ---


def page(html: str) -> Behaviour:
    async def behave(asked: Asked, answer: Answer) -> None:
        data = html.encode()
        await answer.head("200 OK", Content_Type="text/html; charset=utf-8", Content_Length=len(data))
        if asked.method == "GET":
            await answer.body(data)

    return behave


def held_page(html: str, gate: asyncio.Event) -> Behaviour:
    """Answer only once `gate` is open: extraction hangs until then."""
    plain = page(html)

    async def behave(asked: Asked, answer: Answer) -> None:
        await gate.wait()
        await plain(asked, answer)

    return behave


def honest(data: bytes, *, etag: str = '"v1"', content_type: str = "video/mp4") -> Behaviour:
    return held(data, None, etag=etag, content_type=content_type)


def held(
    data: bytes,
    gate: asyncio.Event | None,
    *,
    first_bytes: int = 0,
    etag: str = '"v1"',
    content_type: str = "video/mp4",
) -> Behaviour:
    """Right in every header; after `first_bytes` of the file the rest waits for `gate`."""

    async def behave(asked: Asked, answer: Answer) -> None:
        wanted = asked.byte_range(len(data))
        if_range = asked.headers.get("if-range")
        if wanted is None or (if_range is not None and if_range != etag):
            start, end = 0, len(data)
            await answer.head(
                "200 OK", Content_Length=len(data), Content_Type=content_type, ETag=etag, Accept_Ranges="bytes"
            )
        else:
            start, end = wanted
            await answer.head("206 Partial Content", Content_Length=end - start, Content_Type=content_type, ETag=etag,
                              Content_Range=f"bytes {start}-{end - 1}/{len(data)}")  # fmt: skip
        if asked.method != "GET":
            return
        open_until = max(start, min(end, first_bytes))
        await answer.body(data[start:open_until])
        if gate is not None and open_until < end:
            await gate.wait()
        await answer.body(data[open_until:end])

    return behave


def ignores_range(data: bytes) -> Behaviour:
    async def behave(asked: Asked, answer: Answer) -> None:
        await answer.head("200 OK", Content_Length=len(data), Content_Type="video/mp4", ETag='"v1"')
        if asked.method == "GET":
            await answer.body(data)

    return behave


def shortens(data: bytes, *, times: int) -> Behaviour:
    """Promise a length and close early, `times` times; then behave."""
    left = times
    right = honest(data)

    async def behave(asked: Asked, answer: Answer) -> None:
        nonlocal left
        if asked.method != "GET" or left == 0:
            await right(asked, answer)
            return
        left -= 1
        start, end = asked.byte_range(len(data)) or (0, len(data))
        await answer.head("206 Partial Content", Content_Length=end - start, ETag='"v1"', Content_Type="video/mp4",
                          Content_Range=f"bytes {start}-{end - 1}/{len(data)}")  # fmt: skip
        await answer.body(data[start : start + (end - start) // 2])

    return behave


def resets(data: bytes, *, times: int) -> Behaviour:
    """Break the connection in mid-body, `times` times; then behave."""
    left = times
    right = honest(data)

    async def behave(asked: Asked, answer: Answer) -> None:
        nonlocal left
        if asked.method != "GET" or left == 0:
            await right(asked, answer)
            return
        left -= 1
        start, end = asked.byte_range(len(data)) or (0, len(data))
        await answer.head("206 Partial Content", Content_Length=end - start, ETag='"v1"', Content_Type="video/mp4",
                          Content_Range=f"bytes {start}-{end - 1}/{len(data)}")  # fmt: skip
        await answer.body(data[start : start + (end - start) // 3])
        answer.reset()

    return behave


def changes_version(before: bytes, after: bytes, *, at_request: int) -> Behaviour:
    """One version until the n-th GET, another one from then on, each honest in itself."""
    count = 0
    versions = (honest(before, etag='"before"'), honest(after, etag='"after"'))

    async def behave(asked: Asked, answer: Answer) -> None:
        nonlocal count
        count += asked.method == "GET"
        await versions[count >= at_request](asked, answer)

    return behave
