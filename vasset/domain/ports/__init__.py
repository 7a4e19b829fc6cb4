"""What use cases need from the outside. Every port has one contract suite that runs over every adapter.

Local object, gRPC client and port share one signature: ``Authority``, ``Parser`` and ``Library`` are implemented by
``services/*/service.py`` and by ``services/*/client.py`` alike.
"""

from vasset.domain.ports.accounts import MAX_ASKED, Account, AccountStore, Authority, Rotation, SessionState
from vasset.domain.ports.clock import Clock
from vasset.domain.ports.library import Library, LibraryStore
from vasset.domain.ports.media import (
    ExtractionRequest,
    Extractor,
    FetchedStream,
    Fetcher,
    Parser,
    Transfer,
    TransferSnapshot,
)
from vasset.domain.ports.messaging import Cache, Delivery, ProgressBus, TaskQueue
from vasset.domain.ports.storage import DiskUsage, RemoteFiles, Storage
from vasset.domain.ports.tasks import (
    DeadLetter,
    DeadLetters,
    FileStore,
    Outbox,
    OutboxMessage,
    Retention,
    Submitted,
    TaskStore,
)
from vasset.domain.ports.workers import Breaker, ProxyLease, ProxyPool, WorkerControl, WorkerState

__all__ = [
    "MAX_ASKED",
    "Account",
    "AccountStore",
    "Authority",
    "Breaker",
    "Cache",
    "Clock",
    "DeadLetter",
    "DeadLetters",
    "Delivery",
    "DiskUsage",
    "ExtractionRequest",
    "Extractor",
    "FetchedStream",
    "Fetcher",
    "FileStore",
    "Library",
    "LibraryStore",
    "Outbox",
    "OutboxMessage",
    "Parser",
    "ProgressBus",
    "ProxyLease",
    "ProxyPool",
    "RemoteFiles",
    "Retention",
    "Rotation",
    "SessionState",
    "Storage",
    "Submitted",
    "TaskQueue",
    "TaskStore",
    "Transfer",
    "TransferSnapshot",
    "WorkerControl",
    "WorkerState",
]
