"""``ParserService`` over gRPC."""

from __future__ import annotations

from typing import Any

from vasset.domain.ports import Parser
from vasset.services.context import identity_of
from vasset.services.parser import convert
from vasset.services.proto import parser_pb2 as wire
from vasset.services.proto.parser_pb2_grpc import ParserServiceServicer


class ParserServicer(ParserServiceServicer):
    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    async def ParseURL(self, request: wire.ParseURLRequest, context: Any) -> wire.MediaInfoMessage:
        page = request.playlist_page if request.HasField("playlist_page") else 1
        info = await self._parser.parse(identity_of(context), request.url, playlist_page=page)
        return convert.media_to_wire(info)
