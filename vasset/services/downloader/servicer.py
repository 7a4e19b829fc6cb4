"""``DownloaderService`` over gRPC (:9003): tasks by row, the worker that answers, its files, the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from vasset.domain.errors import InvalidInput, NotFound
from vasset.domain.ports import DeadLetters, Storage, TaskStore, WorkerControl
from vasset.services.context import identity_of
from vasset.services.convert import optional
from vasset.services.downloader.convert import letter_to_wire, task_to_wire, worker_to_wire
from vasset.services.proto import downloader_pb2 as wire
from vasset.services.proto.downloader_pb2_grpc import DownloaderServiceServicer

CHUNK_BYTES = 256 * 1024
MAX_SLOTS = 10_000


class DownloaderServicer(DownloaderServiceServicer):
    """Task calls need the user's identity in metadata; worker calls the service token only (operators, other services)."""

    def __init__(
        self,
        tasks: TaskStore,
        worker: WorkerControl,
        storage: Storage,
        dead_letters: DeadLetters,
    ) -> None:
        self._tasks = tasks
        self._worker = worker
        self._storage = storage
        self._dead_letters = dead_letters

    async def GetTask(self, request: wire.TaskRequest, context: Any) -> wire.TaskMessage:
        return task_to_wire(await self._tasks.get(request.task_id, user_id=identity_of(context).user_id))

    async def Cancel(self, request: wire.TaskRequest, context: Any) -> wire.TaskMessage:
        task = await self._tasks.cancel(request.task_id, user_id=identity_of(context).user_id)
        self._worker.nudge(task.id)
        return task_to_wire(task)

    async def Pause(self, request: wire.TaskRequest, context: Any) -> wire.TaskMessage:
        task = await self._tasks.pause(request.task_id, user_id=identity_of(context).user_id)
        self._worker.nudge(task.id)
        return task_to_wire(task)

    async def Resume(self, request: wire.TaskRequest, context: Any) -> wire.TaskMessage:
        task = await self._tasks.resume(request.task_id, user_id=identity_of(context).user_id)
        self._worker.wake()
        return task_to_wire(task)

    async def Retry(self, request: wire.TaskRequest, context: Any) -> wire.TaskMessage:
        identity = identity_of(context)
        task = await self._tasks.retry(request.task_id, user_id=identity.user_id, role=identity.role)
        self._worker.wake()
        return task_to_wire(task)

    async def GetWorker(self, request: wire.GetWorkerRequest, context: Any) -> wire.WorkerMessage:
        return self._describe()

    async def SetConcurrency(self, request: wire.SetConcurrencyRequest, context: Any) -> wire.WorkerMessage:
        if not 1 <= request.slots <= MAX_SLOTS:
            raise InvalidInput(
                f"slots must be between 1 and {MAX_SLOTS}, {request.slots} was asked; use drain to stop work."
            )
        self._worker.resize(request.slots)
        return self._describe()

    async def Drain(self, request: wire.DrainRequest, context: Any) -> wire.WorkerMessage:
        self._worker.begin_drain()
        return self._describe()

    async def ReadFile(self, request: wire.ReadFileRequest, context: Any) -> AsyncIterator[wire.FileChunk]:
        path = self._storage.resolve(request.relative_path)
        try:
            source = await asyncio.to_thread(path.open, "rb")
        except OSError:
            raise NotFound(f"{Path(request.relative_path).name} is not on this worker") from None
        with source:
            await asyncio.to_thread(source.seek, request.offset)
            remaining = request.length
            while remaining > 0:
                data = await asyncio.to_thread(source.read, min(CHUNK_BYTES, remaining))
                if not data:
                    return
                remaining -= len(data)
                yield wire.FileChunk(data=data)

    async def ListDeadLetters(self, request: wire.ListDeadLettersRequest, context: Any) -> wire.ListDeadLettersResponse:
        letters = await self._dead_letters.list(
            limit=min(1_000, max(1, request.limit)), reason=optional(request, "reason")
        )
        return wire.ListDeadLettersResponse(letters=[letter_to_wire(letter) for letter in letters])

    async def ReplayDeadLetters(self, request: wire.SelectDeadLettersRequest, context: Any) -> wire.CountResponse:
        count = await self._dead_letters.replay(list(request.task_ids), reason=optional(request, "reason"))
        self._worker.wake()
        return wire.CountResponse(count=count)

    async def PurgeDeadLetters(self, request: wire.SelectDeadLettersRequest, context: Any) -> wire.CountResponse:
        return wire.CountResponse(
            count=await self._dead_letters.purge(list(request.task_ids), reason=optional(request, "reason"))
        )

    def _describe(self) -> wire.WorkerMessage:
        return worker_to_wire(self._worker.state())
