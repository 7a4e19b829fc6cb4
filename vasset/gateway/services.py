"""Everything the gateway needs from the outside; local objects in one deployment, gRPC clients in the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from vasset.domain.ports import Authority, Cache, Clock, Library, Parser, ProgressBus, RemoteFiles, Storage, TaskStore


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """``check`` raises when the part does not work, and may answer words for operators when it works but waits. Only a ``required``
    part makes the gateway unready (P26), by raising.
    """

    name: str
    check: Callable[[], Awaitable[str | None]]
    required: bool = True


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class GatewayServices:
    authority: Authority
    parser: Parser
    library: Library
    tasks: TaskStore
    bus: ProgressBus
    cache: Cache
    storage: Storage
    clock: Clock
    canonicalise: Callable[[str], str]
    """The one spelling of a public http(s) URL; raises ``InvalidUrl`` or ``EgressRefused`` (the engine's guard)."""
    remote_files: RemoteFiles | None = None
    """Where workers keep files on disks of their own; None when all share a folder."""
    readiness: Sequence[ReadinessCheck] = field(default=())
    draining: Callable[[], bool] = _never
    """True from SIGTERM on: ``/readyz`` says no while open requests are finished (P25)."""
