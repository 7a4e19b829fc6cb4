"""``/healthz``, ``/readyz`` and ``/metrics``: for machines, outside the API, without a sign-in."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from vasset.domain.errors import DependencyDown
from vasset.gateway import metrics, schemas
from vasset.gateway.access import public
from vasset.gateway.answers import JsonResponse, success
from vasset.gateway.deps import gateway_of
from vasset.gateway.route import ApiRoute, uncounted
from vasset.gateway.services import ReadinessCheck

router = APIRouter(route_class=ApiRoute, tags=["operation"])
CHECK_SECONDS = 2.0


@router.get("/healthz", response_model=schemas.Envelope[schemas.Empty])
@public
@uncounted
async def liveness(request: Request) -> Response:
    """The event loop turns. Never asks another server: a database that is down must not restart the gateways."""
    return success({})


@router.get("/readyz", response_model=schemas.Envelope[schemas.ReadinessData], responses={503: {}})
@public
@uncounted
async def readiness(request: Request) -> Response:
    """Whether requests can be served, and what each part says."""
    services = gateway_of(request).services
    said = await asyncio.gather(*(_ask(part) for part in services.readiness))
    parts = {part.name: words for part, (words, _) in zip(services.readiness, said, strict=True)}
    missing = [
        part.name for part, (_, works) in zip(services.readiness, said, strict=True) if part.required and not works
    ]
    if services.draining():
        missing.append("draining")
        parts["draining"] = "the server is shutting down"
    data = {"ready": not missing, "parts": parts}
    if not missing:
        return success(data)
    message = f"Not ready: {', '.join(missing)}."
    return JsonResponse(
        {"code": 50301, "message": message, "retryable": True, "reason": "not_ready", "request_id": None, "data": data},
        status_code=503,
        headers={"retry-after": "2"},
    )


@router.get("/metrics", include_in_schema=False)
@public
@uncounted
async def prometheus(request: Request) -> Response:
    """The counters of this process in Prometheus' text form."""
    content, media_type = metrics.render()
    return Response(content, media_type=media_type)


async def _ask(part: ReadinessCheck) -> tuple[str, bool]:
    """``ok``, what it waits for or the kind of failure (no details, which may hold addresses); and whether it works."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await part.check() or "ok", True
    except (TimeoutError, DependencyDown):
        return "does not answer", False
    except Exception as error:
        return f"failed ({type(error).__name__})", False
