"""``/healthz``, ``/readyz`` and ``/metrics`` of a role that speaks gRPC: same answers as the gateway's, on a port of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CHECK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """``check`` raises when the part does not work; only a ``required`` one makes the role unready."""

    name: str
    check: Callable[[], Awaitable[None]]
    required: bool = True


def sidecar(parts: Sequence[Part], draining: Callable[[], bool]) -> Starlette:
    async def liveness(_: Request) -> Response:
        return JSONResponse({"code": 0, "message": "ok", "data": {}})

    async def readiness(_: Request) -> Response:
        said = dict(zip([part.name for part in parts], await asyncio.gather(*map(_ask, parts)), strict=True))
        missing = [part.name for part in parts if part.required and said[part.name] != "ok"]
        if draining():
            missing.append("draining")
        body = {"code": 50301 if missing else 0, "message": "not ready" if missing else "ok", "data": {"parts": said}}
        return JSONResponse(body, status_code=503 if missing else 200)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/healthz", liveness), Route("/readyz", readiness), Route("/metrics", metrics)])


async def ask_all(parts: Sequence[Part]) -> bool:
    """Whether every required part works: what gRPC health reports."""
    said = await asyncio.gather(*(_ask(part) for part in parts if part.required))
    return all(words == "ok" for words in said)


async def _ask(part: Part) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await part.check()
    except TimeoutError:
        return "does not answer"
    except Exception as error:
        return f"failed ({type(error).__name__})"
    return "ok"
