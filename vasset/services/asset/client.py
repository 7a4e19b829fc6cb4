"""The library of finished downloads behind gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from vasset.domain.history import HistoryEntry, Page, Statistics
from vasset.domain.ports import Breaker
from vasset.domain.quota import Quota
from vasset.domain.user import Identity
from vasset.services.asset import convert
from vasset.services.client import Remote
from vasset.services.convert import optional_wire_text, wire_integer
from vasset.services.proto import asset_pb2 as wire
from vasset.services.proto.asset_pb2_grpc import AssetServiceStub

if TYPE_CHECKING:  # the stub file alone knows it
    from vasset.services.proto.asset_pb2_grpc import AssetServiceAsyncStub

SERVICE = "vasset.v1.AssetService"
IDEMPOTENT = [(SERVICE, method) for method in ("ListHistory", "GetEntry", "GetQuota", "GetStatistics")]


class AssetClient(Remote):
    """``Library`` over gRPC."""

    service = "asset"

    def __init__(
        self, channel: grpc.aio.Channel, token: str, *, timeout_seconds: float = 5.0, breaker: Breaker | None = None
    ) -> None:
        super().__init__(token, timeout_seconds=timeout_seconds, breaker=breaker)
        self._stub: AssetServiceAsyncStub = AssetServiceStub(channel)

    async def history(
        self, identity: Identity, *, page: int = 1, per_page: int = 20, query: str | None = None
    ) -> Page[HistoryEntry]:
        request = wire.ListHistoryRequest(
            page=wire_integer(page, 32), per_page=wire_integer(per_page, 32), query=optional_wire_text(query)
        )
        return convert.page_from_wire(await self._call(self._stub.ListHistory, request, identity))

    async def entry(self, identity: Identity, history_id: int) -> HistoryEntry:
        request = wire.GetEntryRequest(history_id=wire_integer(history_id))
        return convert.entry_from_wire(await self._call(self._stub.GetEntry, request, identity))

    async def delete(self, identity: Identity, history_id: int) -> HistoryEntry:
        request = wire.DeleteEntryRequest(history_id=wire_integer(history_id))
        return convert.entry_from_wire(await self._call(self._stub.DeleteEntry, request, identity))

    async def quota(self, identity: Identity) -> Quota:
        return convert.quota_from_wire(await self._call(self._stub.GetQuota, wire.GetQuotaRequest(), identity))

    async def statistics(self, identity: Identity) -> Statistics:
        answer = await self._call(self._stub.GetStatistics, wire.GetStatisticsRequest(), identity)
        return convert.statistics_from_wire(answer)
