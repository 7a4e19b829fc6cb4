"""The Rust engine as Python sees it.

Errors, drawn as a tree (every class carries `code: str` and `retryable: bool`):

    EngineError
    ├── InvalidRequest        the request contradicts itself; nothing was sent
    ├── Unsupported           recognised, and not something this engine does (DRM, live, a scheme)
    ├── EgressDenied          the address, name or URL is outside what the egress policy allows
    ├── OriginError           what the origin answered cannot become a true file
    │   ├── HttpStatus        a final status that is not success; `.status`, `.retry_after_seconds`
    │   │   └── UrlExpired    403 or 410: extract again, then `Handle.refresh` or a new `Request` continues the journal
    │   ├── OriginChanged     the origin's file changed under the download more often than allowed
    │   ├── OriginLied        framing, range or length contradict themselves (RFC 9110/9112)
    │   └── PageAnswered      a page, a notice or a tail came where the file was being fetched; the journal stays
    ├── NetworkError          connect, TLS, DNS, reset or truncation after all retries
    │   └── TimeoutExceeded   a connect, header, idle, low-speed or total bound was reached
    ├── DigestMismatch        all bytes arrived and are not the promised ones; nothing is published
    ├── LimitExceeded         more bytes, redirects, fragments or depth than the request allows
    ├── StorageError          the disk refused; the part file and its journal stay
    │   ├── DiskFull          ENOSPC or EDQUOT, or less free space than the file needs
    │   ├── TargetExists      the target name is taken; it is never replaced
    │   └── JournalLocked     another process or handle is working on the same part file
    ├── Cancelled             `Handle.cancel`, `Engine.close`
    └── ForkError             this process was forked from the one that made the engine
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, Self, final

__all__ = [
    "MOST_CONNECTIONS",
    "Cancelled",
    "Cookie",
    "DigestMismatch",
    "DiskFull",
    "EgressDenied",
    "Engine",
    "EngineError",
    "ForkError",
    "Fragment",
    "GuardProxy",
    "Handle",
    "HttpStatus",
    "InvalidRequest",
    "JournalLocked",
    "LimitExceeded",
    "NetworkError",
    "OriginChanged",
    "OriginError",
    "OriginLied",
    "Outcome",
    "PageAnswered",
    "ProxyCredential",
    "ProxyUsage",
    "Relief",
    "Request",
    "Snapshot",
    "StorageError",
    "Stream",
    "TargetExists",
    "TimeoutExceeded",
    "Unsupported",
    "UrlExpired",
    "__version__",
    "canonical_url",
    "classify_address",
    "find_unknown_files",
    "hash_file",
    "relieve_disk",
]

__version__: str
MOST_CONNECTIONS: int
"""Of one download, on demand."""

class EngineError(Exception):
    code: str
    retryable: bool

class InvalidRequest(EngineError): ...
class Unsupported(EngineError): ...
class EgressDenied(EngineError): ...
class OriginError(EngineError): ...

class HttpStatus(OriginError):
    status: int
    retry_after_seconds: float | None

class UrlExpired(HttpStatus): ...
class OriginChanged(OriginError): ...
class OriginLied(OriginError): ...
class PageAnswered(OriginError): ...
class NetworkError(EngineError): ...
class TimeoutExceeded(NetworkError): ...
class DigestMismatch(EngineError): ...
class LimitExceeded(EngineError): ...
class StorageError(EngineError): ...
class DiskFull(StorageError): ...
class TargetExists(StorageError): ...
class JournalLocked(StorageError): ...
class Cancelled(EngineError): ...
class ForkError(EngineError): ...

State = Literal["queued", "probing", "running", "paused", "verifying", "completed", "failed", "cancelled"]
Durability = Literal["not_asked", "synced", "unknown"]
Remark = Literal["end_unannounced", "unpacked"]
HashName = Literal["blake3", "xxh3", "sha256"]

@final
class Engine:
    """One runtime, one connection pool, one set of limits; make one per process and share it.

    `egress_allow` names hosts, addresses or networks (CIDR) that may be reached although they are not public.
    `ca_file` adds to the platform's roots. `rate_limit` is bytes per second over all tasks. `disk_floor` is how many
    bytes of a disk stay free whatever is downloaded, at most a twentieth of it.
    """

    def __new__(
        cls,
        *,
        egress_allow: Sequence[str] = ...,
        ca_file: str | None = None,
        max_connections: int = 256,
        max_connections_per_host: int = 16,
        rate_limit: int | None = None,
        user_agent: str | None = None,
        worker_threads: int | None = None,
        disk_floor: int = 0,
    ) -> Self: ...
    def submit(self, request: Request) -> Handle:
        """Starts the download and returns at once; only the request itself can be refused here."""
    def streams(self, request: Request) -> list[Stream]:
        """What the playlist or manifest of ``request`` lets one choose from; empty when there is nothing to choose.

        Blocks without the GIL and honours Ctrl-C; raises as a download of it would.
        """
    def snapshot(self) -> list[Snapshot]:
        """The numbers of every task that has not ended, in one call without blocking the data plane."""
    def set_limits(
        self,
        *,
        rate_limit: int | None = None,
        max_connections: int | None = None,
        max_connections_per_host: int | None = None,
    ) -> None:
        """Changes only what is given, at once and for running tasks too. `rate_limit=0` removes the limit."""
    def set_host_limit(self, host: str, rate_limit: int | None) -> None:
        """Bounds the bytes per second taken from one host by all tasks together; None removes the bound."""
    def completion_fd(self) -> int:
        """A descriptor that is readable while `drain_completions` has something; for `loop.add_reader`."""
    def drain_completions(self) -> list[int]:
        """The ids of the handles that ended since the last call, in the order they ended."""
    def close(self) -> None:
        """Cancels every task and waits for them. Journals stay. Idempotent."""

@final
class Fragment:
    """One piece of a `kind="fragments"` request; pieces are joined in the given order.

    `byte_range` is (start, length). `key` are 16 bytes of AES-128-CBC key, `iv` 16 bytes; both or neither.
    """

    def __new__(
        cls,
        url: str,
        *,
        byte_range: tuple[int, int] | None = None,
        key: bytes | None = None,
        iv: bytes | None = None,
    ) -> Self: ...
    url: str
    byte_range: tuple[int, int] | None

@final
class Cookie:
    """A cookie and where it belongs: to `domain` alone, or with a leading dot to it and everything below it.

    `secure` keeps it to https; `expires` is in seconds since 1970. Raises ``InvalidRequest`` for what no header carries and for a
    domain that strangers share (`.co.uk`). Its `repr` does not show the value.
    """

    def __new__(
        cls,
        name: str,
        value: str,
        domain: str,
        *,
        path: str = "/",
        secure: bool = False,
        expires: float | None = None,
    ) -> Self: ...

@final
class Request:
    """What to fetch, where to put it, and within which bounds. Immutable.

    `target` never exists before and appears only complete, verified and durable (a disk that fails to confirm the last
    is told by `Outcome.durability`); until then the bytes are in `<target>.part` and the journal in `<target>.part.j`, and
    a later request with the same target continues them.
    `headers` and `cookies` as one line go to the origin of `url` only; of them, Accept, Accept-Language, Origin, Referer and
    User-Agent also follow a redirect to another one. `cookies` as a sequence go to whatever host each is for: on redirects, to
    playlists, keys and segments. What answers set is added for the length of the task.
    `connections=None` lets the engine find the number. `max_range_bytes` bounds one range request (YouTube: 10 MiB).
    `expected_digest` is (algorithm, lowercase hex); a mismatch publishes nothing.
    `timeout_seconds` bounds the whole task, `answer_timeout_seconds` the wait for the head of the first answer,
    `idle_timeout_seconds` the silence of one connection after it, `minimum_speed` (bytes per second over
    `idle_timeout_seconds`) the crawl.
    `trust_length` goes on with a file that has no validators when its length and the bytes before the missing ones are
    the same; without it such a file begins anew after every break.
    `stream` is the index of one that `Engine.streams` answered; None takes the best picture. `http2` allows it for
    fragments; single files come by HTTP/1.1.
    """

    def __new__(
        cls,
        url: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: str | Sequence[Cookie] | None = None,
        kind: Literal["file", "media", "hls", "dash", "fragments"] = "file",
        fragments: Sequence[Fragment] = ...,
        expected_size: int | None = None,
        expected_digest: tuple[HashName, str] | None = None,
        hashes: Sequence[HashName] = ...,
        connections: int | None = None,
        max_range_bytes: int | None = None,
        rate_limit: int | None = None,
        weight: int = 1,
        proxy: str | None = None,
        max_bytes: int | None = None,
        timeout_seconds: float | None = None,
        connect_timeout_seconds: float = 10.0,
        answer_timeout_seconds: float = 120.0,
        idle_timeout_seconds: float = 30.0,
        minimum_speed: int = 0,
        retries: int = 8,
        trust_length: bool = False,
        max_redirects: int = 20,
        stream: int | None = None,
        representation: str | None = None,
        skip_missing: int = 0,
        http2: bool = True,
        durable: bool = True,
    ) -> Self: ...
    url: str
    target: str

@final
class Stream:
    """One of several encodings: of picture and sound (`both`), of picture whose sound is apart, of sound, of neither.

    `audio_group` joins a picture and its sounds. A sound that is not `is_separate` is inside its pictures.
    """

    index: int
    kind: Literal["both", "video", "audio", "other"]
    width: int | None
    height: int | None
    bandwidth: int
    codecs: str | None
    language: str | None
    name: str | None
    audio_group: str | None
    is_default: bool
    is_separate: bool

@final
class Handle:
    id: int
    def cancel(self) -> None:
        """Stops within 50 ms and keeps the journal. Harmless when the task has ended."""
    def pause(self) -> None:
        """Closes the connections and keeps the journal; `resume` goes on."""
    def resume(self) -> None: ...
    def set_limits(self, *, rate_limit: int | None = None, weight: int | None = None) -> None:
        """Changes only what is given. `rate_limit=0` removes this task's own limit."""
    def refresh(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        cookies: str | Sequence[Cookie] | None = None,
    ) -> None:
        """Continues a task that ended with `UrlExpired` under a new URL; the journal counts when validators agree."""
    def wait(self, timeout: float | None = None) -> Outcome:
        """Blocks without the GIL, honours Ctrl-C; `TimeoutError` when `timeout` seconds passed first."""
    def result(self) -> Outcome:
        """The outcome of an ended task, or its error raised; `RuntimeError` while it still runs."""
    def done(self) -> bool: ...
    def snapshot(self) -> Snapshot: ...
    def waiting_for(self) -> str | None:
        """What the task waits for while no byte comes ("the answer of cdn.example"), for people; None while bytes come."""

@final
class Snapshot:
    id: int
    state: State
    downloaded_bytes: int
    total_bytes: int | None
    speed_bytes_per_second: float
    connections: int
    resumed_bytes: int
    fragments_done: int
    fragments_total: int | None

@final
class Outcome:
    path: str
    size: int
    digests: dict[str, str]
    seconds: float
    resumed_bytes: int
    fetched_bytes: int
    connections_peak: int
    etag: str | None
    content_type: str | None
    final_url: str
    missing_fragments: int
    durability: Durability
    remarks: list[Remark]
    """`end_unannounced`: only the end of a TLS connection ended the body, without `close_notify`, so that a cut would look the
    same. `unpacked`: the body came compressed; size and digest are of what it stands for."""
    """``unknown``: the file is there and complete, and the disk failed to confirm its name; it may be gone after a power cut."""

def hash_file(path: str | PathLike[str], algorithm_name: HashName) -> str:
    """The lowercase hex digest of a local file, read once in large blocks. Blocks without the GIL; raises ``StorageError``."""

def classify_address(text: str) -> str | None:
    """Why this IP address is not public, such as ``127.0.0.0/8 is loopback (RFC 1122)``; None when it is public.

    Raises ``ValueError`` for anything but an address.
    """

def canonical_url(text: str, allow: Sequence[str] = ...) -> str:
    """The one spelling of an http(s) URL that everybody reads the same. Resolves nothing.

    Raises ``InvalidRequest`` for a text that is no URL we fetch (scheme, user information, backslashes, odd spellings
    of addresses, over 8 KiB …) and ``EgressDenied`` for one whose host or port can never be public.
    """

@final
class ProxyCredential:
    """For one task. ``url`` and ``password`` are secrets; ``username`` is not."""

    username: str
    password: str
    url: str

@final
class ProxyUsage:
    bytes: int
    connections: int
    denials: int

@final
class GuardProxy:
    """The loopback forward proxy: the only way out for children and webhooks (HTTP CONNECT and absolute-form HTTP).

    Runs on a thread of its own; one per process is enough. Every target is resolved once, all answers are classified,
    and the connection goes to the checked address. Refusals are answered 403 with the reason as text.
    """

    def __new__(cls, *, egress_allow: Sequence[str] = ...) -> Self: ...
    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without credentials."""
    def issue(
        self,
        label: str,
        *,
        max_bytes: int | None = None,
        max_connections: int = 64,
        timeout_seconds: float | None = None,
        upstream: str | None = None,
    ) -> ProxyCredential:
        """Fresh credentials. ``upstream`` is a third-party proxy (``http://``, ``socks5://``) that is classified too."""
    def revoke(self, username: str) -> bool:
        """Ends its connections at once. False when it was not known."""
    def usage(self, username: str) -> ProxyUsage | None: ...
    def close(self) -> None:
        """Ends everything. Idempotent."""
    def __enter__(self) -> Self: ...
    def __exit__(self, *_error: object) -> None: ...

@final
class Relief:
    """What a cleanup did. Fractions are of the filesystem; ``kept`` pairs a path with the reason it stayed."""

    used_before: float
    used_after: float
    is_relieved: bool
    freed_bytes: int
    freed: list[str]
    kept: list[tuple[str, str]]

def relieve_disk(
    root: str | PathLike[str],
    candidates: Sequence[tuple[str, int, bool, bool]],
    *,
    high: float,
    low: float,
    now: int,
    protected: Sequence[str] = ...,
    batch: int = 64,
    pause_seconds: float = 0.002,
) -> Relief:
    """Above ``high`` (a fraction) removes expired candidates, oldest first, until ``low``. Blocks without the GIL.

    A candidate is (path relative to ``root``, expires at, is archive, is leased); times are seconds since 1970. Archive,
    leased, locked, open, hard-linked and replaced files stay, whatever the candidate says.
    """

def find_unknown_files(
    root: str | PathLike[str], known: Sequence[str], *, before: int, threads: int | None = None
) -> list[tuple[str, int, int]]:
    """Files below ``root`` that are not in ``known`` and were last written before ``before``: (path, written at, bytes).

    Blocks without the GIL and removes nothing.
    """
