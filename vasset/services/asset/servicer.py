"""``AssetService`` over gRPC."""

from __future__ import annotations

from typing import Any

from vasset.domain.ports import Library
from vasset.services.asset import convert
from vasset.services.context import identity_of
from vasset.services.convert import optional
from vasset.services.proto import asset_pb2 as wire
from vasset.services.proto.asset_pb2_grpc import AssetServiceServicer


class AssetServicer(AssetServiceServicer):
    def __init__(self, library: Library) -> None:
        self._library = library

    async def ListHistory(self, request: wire.ListHistoryRequest, context: Any) -> wire.HistoryPage:
        page = await self._library.history(
            identity_of(context),
            page=request.page,
            per_page=request.per_page,
            query=optional(request, "query"),
        )
        return convert.page_to_wire(page)

    async def GetEntry(self, request: wire.GetEntryRequest, context: Any) -> wire.HistoryEntryMessage:
        return convert.entry_to_wire(await self._library.entry(identity_of(context), request.history_id))

    async def DeleteEntry(self, request: wire.DeleteEntryRequest, context: Any) -> wire.HistoryEntryMessage:
        return convert.entry_to_wire(await self._library.delete(identity_of(context), request.history_id))

    async def GetQuota(self, request: wire.GetQuotaRequest, context: Any) -> wire.QuotaMessage:
        return convert.quota_to_wire(await self._library.quota(identity_of(context)))

    async def GetStatistics(self, request: wire.GetStatisticsRequest, context: Any) -> wire.StatisticsMessage:
        return convert.statistics_to_wire(await self._library.statistics(identity_of(context)))
