"""Submitting downloads and hearing of them at the moment PostgreSQL commits, by a trigger of the benchmark's own."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from benchmarks.cluster.http import JSON, request
from benchmarks.cluster.running import Account, Measured

TRIGGER = """
CREATE OR REPLACE FUNCTION bench_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('bench', NEW.id::text || ' ' || NEW.status); RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER bench_status AFTER UPDATE OF status ON tasks FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION bench_status();
"""
ENDED = frozenset({"completed", "failed", "cancelled"})


class Watched:
    """When each task was first seen in each status, by this process's ``perf_counter``."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, float]] = {}
        self._changed = asyncio.Event()

    def note(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        task_id, _, status = str(payload).partition(" ")
        self.seen.setdefault(task_id, {}).setdefault(status, time.perf_counter())
        self._changed.set()

    def ended(self, task_id: str) -> bool:
        return not ENDED.isdisjoint(self.seen.get(task_id, ()))

    async def all_ended(self, task_ids: list[str], *, seconds: float) -> None:
        """Raises ``RuntimeError`` with what failed, or ``TimeoutError``."""
        await self._all(task_ids, ENDED, seconds)
        failed = [task_id for task_id in task_ids if "completed" not in self.seen[task_id]]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(task_ids)} downloads did not complete, such as {failed[0]}")

    async def all_running(self, task_ids: list[str], *, seconds: float) -> None:
        await self._all(task_ids, frozenset({"running"}), seconds)

    async def _all(self, task_ids: list[str], statuses: frozenset[str], seconds: float) -> None:
        left = set(task_ids)
        async with asyncio.timeout(seconds):
            while True:
                self._changed.clear()
                left = {task_id for task_id in left if statuses.isdisjoint(self.seen.get(task_id, ()))}
                if not left:
                    return
                await self._changed.wait()


@asynccontextmanager
async def watched(measured: Measured) -> AsyncIterator[Watched]:
    connection = await asyncpg.connect(measured.setting("DATABASE_URL").replace("+asyncpg", ""))
    watching = Watched()
    try:
        await connection.execute(TRIGGER)
        await connection.add_listener("bench", watching.note)
        yield watching
    finally:
        await connection.execute("DROP TRIGGER IF EXISTS bench_status ON tasks")
        await connection.close()


def submission(measured: Measured, account: Account, name: str, *, slow: bool = False) -> bytes:
    body: JSON = {"url": measured.origin.url(name, slow=slow), "format": "original"}
    return request(account.token, "POST", "/api/v1/download", body, key=secrets.token_hex(16))


def task_id_of(status: int, body: bytes) -> str:
    if status != 202:
        raise RuntimeError(f"a submission was answered {status}: {body[:200]!r}")
    return str(json.loads(body)["data"]["task_id"])
