"""The parser behind gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from vasset.domain.media import MediaInfo
from vasset.domain.ports import Breaker
from vasset.domain.user import Identity
from vasset.services.client import Remote
from vasset.services.convert import wire_integer, wire_text
from vasset.services.parser import convert
from vasset.services.proto import parser_pb2 as wire
from vasset.services.proto.parser_pb2_grpc import ParserServiceStub

if TYPE_CHECKING:  # the stub file alone knows it
    from vasset.services.proto.parser_pb2_grpc import ParserServiceAsyncStub

SERVICE = "vasset.v1.ParserService"
IDEMPOTENT = [(SERVICE, "ParseURL")]


class ParserClient(Remote):
    """``Parser`` over gRPC. Reading a page takes as long as the site takes: 60 s by default."""

    service = "parser"
    deadline_is_silence = False  # it is most likely the site that takes so long

    def __init__(
        self, channel: grpc.aio.Channel, token: str, *, timeout_seconds: float = 60.0, breaker: Breaker | None = None
    ) -> None:
        super().__init__(token, timeout_seconds=timeout_seconds, breaker=breaker)
        self._stub: ParserServiceAsyncStub = ParserServiceStub(channel)

    async def parse(self, identity: Identity, url: str, *, playlist_page: int = 1) -> MediaInfo:
        request = wire.ParseURLRequest(url=wire_text(url), playlist_page=wire_integer(playlist_page, 32))
        return convert.media_from_wire(await self._call(self._stub.ParseURL, request, identity))
