"""An origin that lies in twelve ways, one per request path, so that every tool meets the same twelve."""

from __future__ import annotations

import re
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socket import SHUT_WR, SO_LINGER, SOL_SOCKET, socket

MEBIBYTE = 1 << 20
LONGEST_STALL_SECONDS = 90.0
RANGE = re.compile(r"^range: bytes=(\d+)-(\d*)", re.IGNORECASE | re.MULTILINE)
IF_RANGE = re.compile(r"^if-range: (.+?)\s*$", re.IGNORECASE | re.MULTILINE)


@dataclass
class Story:
    """One tool's meeting with one lie: how many answers have begun to it so far."""

    data: bytes
    other: bytes
    gets: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_get(self) -> int:
        with self.lock:
            self.gets += 1
            return self.gets


@dataclass(frozen=True, slots=True)
class Wire:
    """One request and the socket to answer on; every answer closes the connection."""

    socket: socket
    head: str
    number: int

    def span(self, size: int) -> tuple[int, int] | None:
        found = RANGE.search(self.head)
        if found is None:
            return None
        return min(int(found[1]), size), min(int(found[2]) + 1, size) if found[2] else size

    def answer(self, status: str, *lines: str) -> None:
        self.socket.sendall("\r\n".join((f"HTTP/1.1 {status}", "Connection: close", *lines, "", "")).encode())

    def send(self, data: bytes) -> None:
        if not self.head.startswith("HEAD"):
            self.socket.sendall(data)

    def honest(
        self, data: bytes, *, etag: str = '"v1"', bytes_sent: int | None = None, total: int | None = None
    ) -> None:
        """Right in every header; fewer bytes than promised when `bytes_sent` says so."""
        span, size = self.span(len(data)), total or len(data)
        condition = IF_RANGE.search(self.head)
        about = (f"ETag: {etag}", "Content-Type: video/mp4", "Accept-Ranges: bytes")
        if span is None or (condition is not None and condition[1] != etag):
            span = (0, len(data))
            self.answer("200 OK", *about, f"Content-Length: {len(data)}")
        elif span[0] >= len(data):
            self.answer("416 Range Not Satisfiable", f"Content-Range: bytes */{size}", "Content-Length: 0")
        else:
            found = f"Content-Range: bytes {span[0]}-{span[1] - 1}/{size}"
            self.answer("206 Partial Content", *about, found, f"Content-Length: {span[1] - span[0]}")
        self.send(data[span[0] : span[1]][:bytes_sent])

    def half(self, data: bytes) -> None:
        first, end = self.span(len(data)) or (0, len(data))
        self.honest(data, bytes_sent=(end - first) // 2)

    def is_whole(self) -> bool:
        """Whether it asks for the file from its first byte."""
        return (self.span(1 << 60) or (0, 0))[0] == 0

    def is_body(self) -> bool:
        """Whether it is more than a probe: neither HEAD nor a range of some bytes."""
        first, end = self.span(1 << 60) or (0, 1 << 60)
        return not self.head.startswith("HEAD") and end - first > 4096


Lie = Callable[[Wire, Story], None]


def cut_once(wire: Wire, story: Story) -> None:
    if wire.number == 1:
        wire.half(story.data)
    else:
        wire.honest(story.data)


def cut_every_time(wire: Wire, story: Story) -> None:
    wire.honest(story.data, bytes_sent=3 * MEBIBYTE)


def ranges_ignored(wire: Wire, story: Story) -> None:
    wire.answer("200 OK", 'ETag: "v1"', "Content-Type: video/mp4", f"Content-Length: {len(story.data)}")
    wire.send(story.data)


def another_range(wire: Wire, story: Story) -> None:
    """A range from the middle is answered by one that begins 64 KiB later, and says so."""
    span = wire.span(len(story.data))
    if span is None or span[0] == 0:
        wire.honest(story.data)
        return
    first, length = min(span[0] + 65_536, len(story.data) - 1), span[1] - span[0]
    body = story.data[first : first + length]
    size = len(story.data)
    wire.answer("206 Partial Content", 'ETag: "v1"', f"Content-Length: {len(body)}",
                f"Content-Range: bytes {first}-{first + len(body) - 1}/{size}")  # fmt: skip
    wire.send(body)


def shorter_range(wire: Wire, story: Story) -> None:
    """Half of what was asked for, and honest about it: RFC 9110 allows it."""
    span = wire.span(len(story.data))
    if span is None or span[1] - span[0] < 2 or span[0] >= len(story.data):
        wire.honest(story.data)
        return
    first, end = span[0], span[0] + (span[1] - span[0] + 1) // 2
    wire.answer("206 Partial Content", 'ETag: "v1"', f"Content-Length: {end - first}",
                f"Content-Range: bytes {first}-{end - 1}/{len(story.data)}")  # fmt: skip
    wire.send(story.data[first:end])


def reset_once(wire: Wire, story: Story) -> None:
    if wire.number != 1:
        wire.honest(story.data)
        return
    wire.half(story.data)
    wire.socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


def stall_once(wire: Wire, story: Story) -> None:
    if wire.number != 1:
        wire.honest(story.data)
        return
    wire.half(story.data)
    wire.socket.settimeout(LONGEST_STALL_SECONDS)
    wire.socket.recv(1)


def busy_twice(wire: Wire, story: Story) -> None:
    if wire.number <= 2:
        wire.answer("503 Service Unavailable", "Retry-After: 1", "Content-Length: 0")
    else:
        wire.honest(story.data)


def version_changes(wire: Wire, story: Story) -> None:
    """Another file of equal length, honestly tagged, from the second answer on; the first one is cut."""
    if wire.number == 1:
        wire.half(story.data)
    else:
        wire.honest(story.other, etag='"v2"')


def total_changes(wire: Wire, story: Story) -> None:
    """Later ranges say that the file is 4 KiB longer; the first answer is cut."""
    if wire.number == 1:
        wire.half(story.data)
    else:
        wire.honest(story.data, total=None if wire.is_whole() else len(story.data) + 4096)


def page_instead(wire: Wire, story: Story) -> None:
    """A sign-in page with status 200 for everything but the beginning; the first answer is cut."""
    if wire.number == 1:
        wire.half(story.data)
    elif wire.is_whole():
        wire.honest(story.data)
    else:
        body = b"<!doctype html><title>Sign in</title>" * 60
        wire.answer("200 OK", "Content-Type: text/html", f"Content-Length: {len(body)}")
        wire.send(body)


def chunks_without_end(wire: Wire, story: Story) -> None:
    wire.answer("200 OK", "Content-Type: video/mp4", "Transfer-Encoding: chunked")
    for start in range(0, len(story.data) // 2, MEBIBYTE):
        wire.send(b"%x\r\n" % MEBIBYTE + story.data[start : start + MEBIBYTE] + b"\r\n")


# Which of them a careful client gets over.
LIES: dict[str, tuple[Lie, bool]] = {
    "cut once in the middle": (cut_once, True),
    "every answer cut after 3 MiB": (cut_every_time, True),
    "ranges ignored": (ranges_ignored, True),
    "another range than asked for": (another_range, False),
    "half of each range, honestly": (shorter_range, True),
    "reset once in the middle": (reset_once, True),
    "stalled once in the middle": (stall_once, True),
    "503 with Retry-After, twice": (busy_twice, True),
    "another version after a cut": (version_changes, True),
    "another total after a cut": (total_changes, False),
    "a sign-in page after a cut": (page_instead, False),
    "chunks without an end": (chunks_without_end, False),
}


@dataclass
class LyingOrigin:
    port: int
    stories: dict[str, tuple[Lie, Story]] = field(default_factory=dict)

    def tell(self, path: str, lie: Lie, data: bytes, other: bytes) -> str:
        self.stories[path] = (lie, Story(data, other))
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def running_lying_origin() -> Iterator[LyingOrigin]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):  # the client went away, which is its right
                serve(self.request, origin)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        origin = LyingOrigin(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield origin
        finally:
            server.shutdown()


def serve(connection: socket, origin: LyingOrigin) -> None:
    connection.settimeout(LONGEST_STALL_SECONDS)
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(65_536)
        if not piece:
            return
        head += piece
    text = head.decode("latin-1")
    lie, story = origin.stories[text.split(" ", 2)[1]]
    wire = Wire(connection, text, 0)
    if wire.is_body():
        wire = Wire(connection, text, story.next_get())
        lie(wire, story)
    elif lie is busy_twice:
        wire.honest(story.data)
    else:
        lie(Wire(connection, text, 1 << 30), story)  # a probe meets the lie but is not counted
    if lie is not reset_once:
        linger(connection)


def linger(connection: socket) -> None:
    """Let the client read everything before the descriptor is closed: a close with unread bytes is a reset."""
    deadline = time.monotonic() + 2.0
    connection.settimeout(2.0)
    with suppress(OSError):
        connection.shutdown(SHUT_WR)
        while connection.recv(4096) and time.monotonic() < deadline:
            pass
