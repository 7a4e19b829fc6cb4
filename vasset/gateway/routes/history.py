"""``/api/v1/history``, ``/quota`` and ``/stats``: what the asset service knows about the caller."""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from vasset.domain.errors import StorageFailed
from vasset.domain.user import Identity
from vasset.gateway import schemas
from vasset.gateway.answers import success
from vasset.gateway.deps import gateway_of, identity_of
from vasset.gateway.route import ApiRoute
from vasset.gateway.routes.accounts import row_id
from vasset.gateway.shapes import history_shape, page_shape, quota_shape, statistics_shape

router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["library"])
Caller = Annotated[Identity, Depends(identity_of)]


@router.get("/history", response_model=schemas.Envelope[schemas.PageOf[schemas.HistoryData]])
async def history(request: Request, query: Annotated[schemas.HistoryQuery, Query()], identity: Caller) -> Response:
    """Own downloads, newest first; ``q`` searches titles and addresses."""
    services = gateway_of(request).services
    page = await services.library.history(identity, page=query.page, per_page=query.per_page, query=query.q or None)
    now = services.clock.now()
    return success(page_shape(page, lambda entry: history_shape(entry, now)))


@router.delete(
    "/history/{history_id}",
    response_model=schemas.Envelope[schemas.Empty],
    responses={404: {"model": schemas.FailureBody}, 409: {"model": schemas.FailureBody}},
)
async def delete(request: Request, history_id: str, identity: Caller) -> Response:
    """Delete an entry and its file. A download that still runs must be cancelled first."""
    services = gateway_of(request).services
    entry = await services.library.delete(identity, row_id(history_id))
    if entry.file_path is not None:
        with contextlib.suppress(StorageFailed):  # the janitor of whoever holds the file comes round for it anyway
            await services.storage.delete(entry.file_path)
    return success({})


@router.get("/quota", response_model=schemas.Envelope[schemas.QuotaData])
async def quota(request: Request, identity: Caller) -> Response:
    """Today's downloads against the daily limit of this account's level."""
    gateway = gateway_of(request)
    found = await gateway.services.library.quota(identity)
    await gateway.quota_mirror.show(identity.user_id, found)
    return success(quota_shape(found))


@router.get("/stats", response_model=schemas.Envelope[schemas.StatisticsData])
async def statistics(request: Request, identity: Caller) -> Response:
    """Totals of this account; of everybody for an administrator."""
    return success(statistics_shape(await gateway_of(request).services.library.statistics(identity)))
