"""``/api/v2``: what a route of v1 could not become without breaking whoever uses it. A route that is not here is v1's."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from vasset.domain.download import TaskStatus
from vasset.domain.user import Identity
from vasset.gateway import schemas
from vasset.gateway.answers import success
from vasset.gateway.deps import gateway_of, identity_of
from vasset.gateway.route import ApiRoute
from vasset.gateway.routes.downloads import UNKNOWN, known_form
from vasset.gateway.shapes import file_shape, task_shape

router = APIRouter(prefix="/api/v2", route_class=ApiRoute, tags=["downloads"])


@router.get(
    "/downloads/{task_id}", response_model=schemas.Envelope[schemas.TaskWithFileData], responses=UNKNOWN,
    operation_id="get_download_v2",
)  # fmt: skip
async def get_download(request: Request, task_id: str, identity: Annotated[Identity, Depends(identity_of)]) -> Response:
    """One task with its latest numbers and, once it is complete, its file: v1 needs a second request to ``/history`` for that."""
    gateway = gateway_of(request)
    services = gateway.services
    task = await services.tasks.get(known_form(task_id), user_id=identity.user_id)
    [frame] = await gateway.progress.current([task])
    file = None
    if task.status is TaskStatus.COMPLETED:
        file = file_shape(await services.library.entry(identity, task.history_id), services.clock.now())
    return success({**task_shape(task, frame), "file": file})
