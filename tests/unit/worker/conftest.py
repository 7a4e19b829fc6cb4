"""A worker's surroundings: a real SQLite store, real storage, a scripted site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.downloads import ScriptedExtractor, ScriptedFetcher
from vasset.adapters.bus.memory import MemoryBus
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.migrate import migrate
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.adapters.storage.local import LocalStorage
from vasset.domain.download import Lease, Mode, Submission, Task, TaskStatus
from vasset.domain.media import Container
from vasset.domain.ports import Breaker, ProxyPool
from vasset.domain.progress import ProgressFrame
from vasset.domain.retry import RetryPolicy
from vasset.domain.user import Role
from vasset.usecases.run_download import DownloadBounds, DownloadParts, RunDownload
from vasset.worker.slots import Slots

LEASE_SECONDS = 60.0


@dataclass
class Surroundings:
    database: Database
    store: SqlTaskStore
    storage: LocalStorage
    bus: MemoryBus
    clock: FakeClock
    users: list[int]
    extractor: ScriptedExtractor = field(default_factory=ScriptedExtractor)
    fetcher: ScriptedFetcher = field(default_factory=ScriptedFetcher)
    unexpected: list[BaseException] = field(default_factory=list)
    proxies: ProxyPool | None = None
    breaker: Breaker | None = None
    heartbeat_seconds: float = 0.02
    task_timeout_seconds: float = 30.0
    task_turn_seconds: float = 3_600.0
    slept: list[float] = field(default_factory=list)
    on_sleep: Callable[[float], Awaitable[None]] | None = None
    extraction_gate: Slots = field(default_factory=lambda: Slots(2))

    async def submit(self, user: int = 0, url: str = "http://site.test/watch", mode: Mode = Mode.QUICK) -> Task:
        submission = Submission(self.users[user], url, mode, "best", Container.MP4)
        return (await self.store.submit(submission, role=Role.ADMIN, idempotency_key=None)).task

    async def claim(self, worker: str = "worker") -> Lease:
        lease = await self.store.claim_next(worker=worker, lease_seconds=LEASE_SECONDS, per_user_limit=50)
        assert lease is not None, "nothing to claim"
        return lease

    def run(self, lease: Lease) -> RunDownload:
        parts = DownloadParts(
            store=self.store,
            storage=self.storage,
            extractor=self.extractor,
            fetcher=self.fetcher,
            bus=self.bus,
            clock=self.clock,
            retry=RetryPolicy(max_retries=3),
            bounds=DownloadBounds(
                lease_seconds=LEASE_SECONDS,
                heartbeat_seconds=self.heartbeat_seconds,
                task_timeout_seconds=self.task_timeout_seconds,
                task_turn_seconds=self.task_turn_seconds,
            ),
            extraction_gate=self.extraction_gate,
            postprocess_gate=Slots(2),
            report_unexpected=lambda task_id, error: self.unexpected.append(error),
            proxies=self.proxies,
            breaker=self.breaker,
            sleep=self._sleep,
        )
        return RunDownload(parts, lease)

    async def _sleep(self, seconds: float) -> None:
        if self.on_sleep is not None:
            await self.on_sleep(seconds)
        else:
            self.slept.append(seconds)

    async def task(self, task_id: str) -> Task:
        return await self.store.get(task_id, user_id=None)

    async def last_frame(self, task_id: str) -> ProgressFrame:
        return (await self.bus.latest([task_id]))[task_id]

    def files(self) -> list[str]:
        """Everything below the data folder that is not unfinished."""
        root = self.storage.root
        paths = (path.relative_to(root) for folder in ("tmp", "archive") for path in (root / folder).rglob("*"))
        return sorted(str(path) for path in paths if (root / path).is_file() and ".work" not in str(path))

    async def until(self, condition: Callable[[Task], bool], task_id: str) -> Task:
        """Wait for a row to say something."""
        async with asyncio.timeout(10):
            while not condition(task := await self.task(task_id)):
                await asyncio.sleep(0.005)
            return task

    async def ended(self, task_id: str) -> Task:
        return await self.until(lambda task: task.status is not TaskStatus.RUNNING, task_id)


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Surroundings]:
    clock = FakeClock()
    database = open_database(f"sqlite+aiosqlite:///{tmp_path / 'vasset.db'}", clock=clock)
    await migrate(database)
    accounts = SqlAccounts(database)
    users = [
        (await accounts.create(f"{name}@x.test", "hash", name, registration="open", invitation_hash=None)).id
        for name in ("ann", "bob")
    ]
    bus = MemoryBus(clock=clock)
    try:
        storage = LocalStorage(tmp_path / "data", clock, alert_percent=100.0)
        yield Surroundings(database, SqlTaskStore(database), storage, bus, clock, users)
    finally:
        await database.close()
