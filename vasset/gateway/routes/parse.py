"""``POST /api/v1/parse``: what is behind a URL."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from vasset.domain.user import Identity
from vasset.gateway import schemas
from vasset.gateway.answers import success
from vasset.gateway.deps import gateway_of, identity_of, limit_rate
from vasset.gateway.route import ApiRoute, patient
from vasset.gateway.shapes import media_shape

router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["media"])


@router.post(
    "/parse",
    response_model=schemas.Envelope[schemas.MediaData],
    responses={status: {"model": schemas.FailureBody} for status in (413, 415, 422, 502)},
)
@patient
async def parse(
    request: Request,
    body: schemas.ParseBody,
    identity: Annotated[Identity, Depends(identity_of)],
) -> Response:
    """Title, duration, thumbnail, formats and a short list of qualities; a playlist answers its entries unread, by the page."""
    gateway = gateway_of(request)
    await limit_rate(request, "parses", f"user-{identity.user_id}", gateway.settings.parses_per_minute)
    media = await gateway.services.parser.parse(identity, body.url, playlist_page=body.playlist_page)
    return success(media_shape(media))
