"""One worker behind gRPC: what operators and the gateway ask of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import grpc

from vasset.domain.ports import DeadLetter, WorkerState
from vasset.services import context as call_context
from vasset.services.client import Remote
from vasset.services.downloader import convert
from vasset.services.errors import from_rpc
from vasset.services.proto import downloader_pb2 as wire
from vasset.services.proto.downloader_pb2_grpc import DownloaderServiceStub

if TYPE_CHECKING:  # the stub file alone knows it
    from vasset.services.proto.downloader_pb2_grpc import DownloaderServiceAsyncStub

SERVICE = "vasset.v1.DownloaderService"
IDEMPOTENT = [(SERVICE, method) for method in ("GetTask", "GetWorker", "SetConcurrency", "Drain", "ListDeadLetters")]


class WorkerClient(Remote):
    """Worker state, concurrency, drain; its files; the dead letters."""

    service = "downloader"

    def __init__(self, channel: grpc.aio.Channel, token: str, *, timeout_seconds: float = 5.0) -> None:
        super().__init__(token, timeout_seconds=timeout_seconds)
        self._stub: DownloaderServiceAsyncStub = DownloaderServiceStub(channel)

    async def state(self) -> WorkerState:
        return convert.worker_from_wire(await self._call(self._stub.GetWorker, wire.GetWorkerRequest()))

    async def resize(self, slots: int) -> WorkerState:
        answer = await self._call(self._stub.SetConcurrency, wire.SetConcurrencyRequest(slots=slots))
        return convert.worker_from_wire(answer)

    async def drain(self) -> WorkerState:
        return convert.worker_from_wire(await self._call(self._stub.Drain, wire.DrainRequest()))

    async def read_file(self, relative_path: str, *, offset: int, length: int) -> AsyncIterator[bytes]:
        """The bytes of a published file on that worker's disk. Raises ``NotFound`` or ``DependencyDown``."""
        request = wire.ReadFileRequest(relative_path=relative_path, offset=offset, length=length)
        try:
            async for chunk in self._stub.ReadFile(request, metadata=call_context.outgoing(self._token, None)):
                yield chunk.data
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.service) from error

    async def list(self, *, limit: int, reason: str | None = None) -> Sequence[DeadLetter]:
        answer = await self._call(self._stub.ListDeadLetters, wire.ListDeadLettersRequest(limit=limit, reason=reason))
        return [convert.letter_from_wire(letter) for letter in answer.letters]

    async def replay(self, task_ids: Sequence[str], *, reason: str | None = None) -> int:
        request = wire.SelectDeadLettersRequest(task_ids=task_ids, reason=reason)
        return (await self._call(self._stub.ReplayDeadLetters, request)).count

    async def purge(self, task_ids: Sequence[str], *, reason: str | None = None) -> int:
        request = wire.SelectDeadLettersRequest(task_ids=task_ids, reason=reason)
        return (await self._call(self._stub.PurgeDeadLetters, request)).count
