"""A live stream → a file: until the stream ends, its bounds are reached, or its user has enough.

yt-dlp itself hands live HLS to ffmpeg, which would then open connections of its own; see docs/decisions/live-streams.md.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yt_dlp.aes import aes_cbc_decrypt_bytes, unpad_pkcs7
from yt_dlp.downloader.common import FileDownloader
from yt_dlp.networking import Request
from yt_dlp.networking.exceptions import HTTPError, RequestError

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.extract import INFO_FILE
from vasset.adapters.extract.child.failure import JobFailed, is_refused, of_kind
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.live_playlist import NotPlayable, Piece, Segment, Window, parse
from vasset.adapters.extract.child.native import EVENT_SECONDS, formats_by_name
from vasset.adapters.extract.child.options import base_options
from vasset.adapters.extract.child.recording import is_asked_to_finish
from vasset.adapters.extract.child.streams import HLS, PLAIN
from vasset.adapters.extract.child.tape import Tape
from vasset.adapters.extract.child.websocket import received_over_websocket

BLOCK_BYTES = 64 * 2**10
MAX_PLAYLIST_BYTES = 8 * 2**20
MAX_ENCRYPTED_BYTES = 64 * 2**20
LOOK_SECONDS = 0.1  # between two looks at the mark
SILENCE_SECONDS = 60.0  # without anything new the stream counts as gone
SEGMENT_TRIES = 3
REFUSED_TRIES = 3
NOTHING = of_kind("live_ended", "The stream ended before anything of it could be recorded.")


def record(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """``over`` is False when the site stopped answering to these addresses: read its page again and go on."""
    workspace = Path(job["workspace"])
    info = json.loads((workspace / INFO_FILE).read_text(encoding="ascii"))
    wanted = formats_by_name(info, job["streams"])
    with GuardedDownloader(base_options(job, settings)) as downloader:
        downloader.take_cookies(job)
        session = Session(downloader, workspace, emit, seconds=float(job["seconds"]), max_bytes=int(job["max_bytes"]))
        with ThreadPoolExecutor(len(wanted)) as threads:
            try:
                running = [
                    threads.submit(session.record, form, workspace / name)
                    for name, form in wanted.items()
                    if not (workspace / name).is_file()
                ]
                ends = [each.result() for each in running]
            finally:
                session.stop()
    over = all(ends)
    if over:
        session.publish()
    return {"downloaded_bytes": session.downloaded, "over": over}


class Session:
    """What the streams of one recording share: bounds, the way out, and whether it goes on."""

    def __init__(
        self, downloader: GuardedDownloader, workspace: Path, emit: Emit, *, seconds: float, max_bytes: int
    ) -> None:
        self.downloader = downloader
        self._workspace = workspace
        self._emit = emit
        self._until = time.monotonic() + seconds
        self._max_bytes = max_bytes
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._tapes: list[Tape] = []
        self._told = (time.monotonic(), 0)

    @property
    def downloaded(self) -> int:
        return sum(tape.length for tape in self._tapes)

    def stop(self) -> None:
        self._stopped.set()

    def is_over(self) -> bool:
        """Somebody or something says that it is enough."""
        if not self._stopped.is_set() and (
            time.monotonic() >= self._until or self.downloaded >= self._max_bytes or is_asked_to_finish(self._workspace)
        ):
            self._stopped.set()
        return self._stopped.is_set()

    def wait(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as it is over."""
        until = time.monotonic() + seconds
        while not self.is_over() and (left := until - time.monotonic()) > 0:
            self._stopped.wait(min(left, LOOK_SECONDS))

    def record(self, form: dict[str, Any], target: Path) -> bool:
        """True when the stream is over for good."""
        tape = Tape(target)
        with self._lock:
            self._tapes.append(tape)
        self.downloader.carry_cookies(form)
        try:
            return _recorder(form)(self, form, tape)
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            self.stop()  # a segment larger than what was left of the bound
            return True
        finally:
            tape.rewind()

    def publish(self) -> None:
        if any(tape.size == 0 for tape in self._tapes):
            raise JobFailed(NOTHING)
        for tape in self._tapes:
            tape.publish()

    @contextmanager
    def opened(self, form: dict[str, Any], piece: Piece) -> Iterator[Any]:
        headers = {str(name): str(value) for name, value in (form.get("http_headers") or {}).items()}
        if piece.byte_range is not None:
            headers["Range"] = f"bytes={piece.byte_range[0]}-{piece.byte_range[1] - 1}"
        browser = FileDownloader(self.downloader, {})._get_impersonate_target(form)
        extensions = {} if browser is None else {"impersonate": browser}
        with self.downloader.urlopen(Request(piece.url, headers=headers, extensions=extensions)) as response:
            if piece.byte_range is not None and response.status != 206:
                raise RequestError("the site ignores ranges")
            yield response

    def body(self, form: dict[str, Any], piece: Piece, limit: int) -> tuple[bytes, str]:
        """All of a small answer, and the address it came from in the end."""
        with self.opened(form, piece) as response:
            body: bytes = response.read(limit + 1)
            if len(body) > limit:
                raise RequestError("an answer is larger than it may be")
            return body, str(response.url)

    def tell(self) -> None:
        """Progress, at most four times a second."""
        with self._lock:
            now, (before, bytes_then) = time.monotonic(), self._told
            if now - before < EVENT_SECONDS:
                return
            done = self.downloaded
            self._told = (now, done)
        self._emit(
            {"event": "progress", "downloaded": done, "total": None, "speed": (done - bytes_then) / (now - before)}
        )


Recorder = Callable[[Session, dict[str, Any], Tape], bool]


def _recorder(form: dict[str, Any]) -> Recorder:
    protocol = str(form.get("protocol"))
    if protocol in HLS:
        return lambda session, form, tape: HlsRecorder(session, form, tape).run()
    if protocol in PLAIN:
        return record_endless_file
    return record_websocket


class HlsRecorder:
    """Follows the sliding window of one media playlist."""

    def __init__(self, session: Session, form: dict[str, Any], tape: Tape) -> None:
        self._session = session
        self._form = form
        self._tape = tape
        self._keys: dict[str, bytes] = {}
        self._heard = time.monotonic()
        self._refused = 0

    def run(self) -> bool:
        while not self._session.is_over():
            window = self._window()
            if window is None:
                if self._refused >= REFUSED_TRIES or self._is_silent():
                    return False
                self._session.wait(2.0)
                continue
            news = [segment for segment in window.segments if self._is_news(segment, window)]
            for segment in news:
                if self._session.is_over():
                    return True
                self._take(segment)
            if window.has_ended:
                return True
            if self._is_silent():
                return False
            # RFC 8216 §6.3.4: after a change one target duration, without one half of it.
            self._session.wait(window.target_seconds * (1.0 if news else 0.5))
        return True

    def _window(self) -> Window | None:
        try:
            body, address = self._session.body(self._form, Piece(self._form["url"]), MAX_PLAYLIST_BYTES)
            window = parse(body.decode("utf-8", "replace"), address)
        except NotPlayable as error:
            raise JobFailed(of_kind("drm") if "protected" in str(error) else NOTHING) from error
        except HTTPError as error:
            _raise_if_ours(error)
            self._refused += error.status < 500
            return None
        except (RequestError, OSError) as error:
            _raise_if_ours(error)
            return None
        self._refused = 0
        return window

    def _is_news(self, segment: Segment, window: Window) -> bool:
        due = self._tape.next_number
        if due is None or segment.number >= due:
            return True
        return window.segments[-1].number + 1 < due  # the site began to count anew

    def _take(self, segment: Segment) -> None:
        """A segment that cannot be had is a gap, as it would be for whoever watches."""
        for number in range(SEGMENT_TRIES):
            try:
                head = self._write(segment)
            except (RequestError, OSError) as error:
                self._tape.rewind()
                _raise_if_ours(error)
                if isinstance(error, HTTPError) and error.status in {404, 410}:
                    break
                if number + 1 < SEGMENT_TRIES:
                    self._session.wait(0.5)
            else:
                self._heard = time.monotonic()
                self._tape.commit(segment.number + 1, head)
                self._session.tell()
                return

    def _write(self, segment: Segment) -> str | None:
        head = None
        if segment.head is not None:
            head = f"{segment.head.url} {segment.head.byte_range}"
            if head != self._tape.head:
                self._tape.write(self._session.body(self._form, segment.head, MAX_PLAYLIST_BYTES)[0])
        if segment.key is not None:
            body, _ = self._session.body(self._form, segment.piece, MAX_ENCRYPTED_BYTES)
            self._tape.write(unpad_pkcs7(aes_cbc_decrypt_bytes(body, self._key(segment.key.url), segment.key.iv)))
            return head
        with self._session.opened(self._form, segment.piece) as response:
            expected = response.headers.get("Content-Length") if not response.headers.get("Content-Encoding") else None
            before = self._tape.length
            while block := response.read(BLOCK_BYTES):
                self._tape.write(block)
                self._session.tell()
            if expected is not None and self._tape.length - before != int(expected):
                raise RequestError("a segment was cut short")
        return head

    def _key(self, url: str) -> bytes:
        if url not in self._keys:
            key, _ = self._session.body(self._form, Piece(url), 1024)
            if len(key) != 16:
                raise RequestError("the stream's key is no key")
            self._keys[url] = key
        return self._keys[url]

    def _is_silent(self) -> bool:
        return time.monotonic() - self._heard > SILENCE_SECONDS


def record_endless_file(session: Session, form: dict[str, Any], tape: Tape) -> bool:
    """A radio station or an FLV stream: one answer that does not end."""
    if tape.size:
        return True  # the second connection would begin another file; what the first one brought is the recording
    try:
        with session.opened(form, Piece(form["url"])) as response:
            while not session.is_over() and (block := response.read(BLOCK_BYTES)):
                tape.write(block)
                tape.commit()
                session.tell()
    except (RequestError, OSError) as error:
        _raise_if_ours(error)
        if not tape.size:
            raise
    return True


def record_websocket(session: Session, form: dict[str, Any], tape: Tape) -> bool:
    """Pieces of a file as messages."""
    if tape.size:
        return True
    for message in received_over_websocket(session, form):
        tape.write(message)
        tape.commit()
        session.tell()
    return True


def _raise_if_ours(error: Exception) -> None:
    """A full disk, or an address the guard does not open: not the stream's doing."""
    if is_refused(error) or (isinstance(error, OSError) and error.errno in {errno.EFBIG, errno.ENOSPC, errno.EDQUOT}):
        raise error
