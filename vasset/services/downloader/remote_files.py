"""The port ``RemoteFiles`` over gRPC: one channel per worker that ever owned a file, opened on first use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator

import grpc

from vasset.services.client import open_channel
from vasset.services.downloader.client import IDEMPOTENT, WorkerClient
from vasset.services.server import TlsFiles

MAX_CHANNELS = 256


class WorkerFiles:
    """Close it to close the channels."""

    def __init__(self, token: str, *, tls: TlsFiles | None = None) -> None:
        self._token = token
        self._tls = tls
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()

    async def read(self, owner: str, relative_path: str, *, offset: int, length: int) -> AsyncIterator[bytes]:
        worker = WorkerClient(await self._channel(owner), self._token)
        async for piece in worker.read_file(relative_path, offset=offset, length=length):
            yield piece

    async def close(self) -> None:
        while self._channels:
            await self._channels.popitem()[1].close()

    async def _channel(self, owner: str) -> grpc.aio.Channel:
        channel = self._channels.get(owner)
        if channel is None:
            channel = self._channels[owner] = open_channel(owner, idempotent=IDEMPOTENT, tls=self._tls)
            if len(self._channels) > MAX_CHANNELS:
                await self._channels.popitem(last=False)[1].close()
        self._channels.move_to_end(owner)
        return channel
