"""A service's local object, or its client behind a real gRPC server on loopback: one suite asks both the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc

from vasset.services.client import open_channel
from vasset.services.server import ServiceServer

TOKEN = "t" * 32
ENDS = ["local", "grpc"]


@asynccontextmanager
async def behind_grpc(
    register: Callable[[Any, Any], None], servicer: object, descriptor: Any, idempotent: Sequence[tuple[str, str]]
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server with this one service, as the gateway has it."""
    server = ServiceServer(TOKEN)
    server.add(register, servicer, descriptor)
    port = await server.start("127.0.0.1", 0)
    channel = open_channel(f"127.0.0.1:{port}", idempotent=idempotent)
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(0)
