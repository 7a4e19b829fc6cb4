"""``/api/v1/download`` and ``/api/v1/downloads``: start, look at and steer tasks."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from vasset.domain.download import Mode, Submission, Task, TaskStatus
from vasset.domain.errors import NotFound
from vasset.domain.media import Container
from vasset.domain.user import Identity
from vasset.gateway import schemas
from vasset.gateway.answers import success
from vasset.gateway.deps import Gateway, gateway_of, idempotency_key_of, identity_of
from vasset.gateway.route import ApiRoute, retired
from vasset.gateway.shapes import page_shape, task_shape

router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["downloads"])
Caller = Annotated[Identity, Depends(identity_of)]
TASK_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\Z")
TaskAnswer = schemas.Envelope[schemas.TaskData]
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": schemas.FailureBody}}
STEERED: dict[int | str, dict[str, Any]] = {**UNKNOWN, 409: {"model": schemas.FailureBody}}


@router.post(
    "/download",
    response_model=schemas.Envelope[schemas.AcceptedData],
    status_code=202,
    responses={status: {"model": schemas.FailureBody} for status in (409, 413, 415, 422)},
    openapi_extra={
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
                "description": "Repeat the request with the same key after a lost answer: one task, one unit of quota.",
            }
        ]
    },
)
async def submit(request: Request, body: schemas.DownloadBody, identity: Caller) -> Response:
    """Start a download. 202 means that it is stored and will end in a state that you can ask for."""
    submission = Submission(
        user_id=identity.user_id,
        url=body.url,
        mode=Mode(body.mode),
        quality=body.quality,
        container=Container(body.format),
        title=body.title,
        duration_seconds=body.duration_seconds,
        with_subtitles=body.subtitles,
    )
    gateway = gateway_of(request)
    submitted = await gateway.submit(submission, role=identity.role, idempotency_key=idempotency_key_of(request))
    if submitted.created:
        await gateway.quota_mirror.count(identity)
    task = submitted.task
    # A repeated request gets the first answer again, byte for byte: that answer said "queued".
    accepted = {"task_id": task.id, "history_id": task.history_id, "status": TaskStatus.QUEUED}
    return success(accepted, status=202, headers={"location": f"/api/v1/downloads/{task.id}"})


@router.get("/downloads", response_model=schemas.Envelope[schemas.PageOf[schemas.TaskData]])
async def list_downloads(
    request: Request, query: Annotated[schemas.DownloadsQuery, Query()], identity: Caller
) -> Response:
    """Own tasks, newest first."""
    gateway = gateway_of(request)
    statuses = tuple(TaskStatus(name) for name in query.status)
    page = await gateway.services.tasks.page(
        identity.user_id, statuses=statuses, page=query.page, per_page=query.per_page
    )
    frames = await gateway.progress.current(list(page.items))
    by_id = {frame.task_id: frame for frame in frames}
    return success(page_shape(page, lambda task: task_shape(task, by_id[task.id])))


@router.get("/downloads/{task_id}", response_model=TaskAnswer, responses=UNKNOWN)
async def get_download(request: Request, task_id: str, identity: Caller) -> Response:
    """One task with its latest numbers."""
    gateway = gateway_of(request)
    return await _answer(gateway, await gateway.services.tasks.get(known_form(task_id), user_id=identity.user_id))


@router.get(
    "/tasks/{task_id}",
    response_model=TaskAnswer,
    responses=UNKNOWN,
    deprecated=True,
    operation_id="get_task_deprecated",
)
@retired(on=date(2027, 6, 30), successor="/api/v2/downloads/{task_id}")
async def get_task(request: Request, task_id: str, identity: Caller) -> Response:
    """The former address of ``/api/v1/downloads/{task_id}``."""
    return await get_download(request, task_id, identity)


@router.post("/downloads/{task_id}/cancel", response_model=TaskAnswer, responses=STEERED)
async def cancel(request: Request, task_id: str, identity: Caller) -> Response:
    """Stop for good. Repeating it changes nothing."""
    gateway = gateway_of(request)
    task = await gateway.services.tasks.cancel(known_form(task_id), user_id=identity.user_id)
    await gateway.quota_mirror.forget(identity.user_id)
    return await _answer(gateway, task)


@router.post("/downloads/{task_id}/pause", response_model=TaskAnswer, responses=STEERED)
async def pause(request: Request, task_id: str, identity: Caller) -> Response:
    """Stop and keep the bytes."""
    gateway = gateway_of(request)
    return await _answer(gateway, await gateway.services.tasks.pause(known_form(task_id), user_id=identity.user_id))


@router.post("/downloads/{task_id}/resume", response_model=TaskAnswer, responses=STEERED)
async def resume(request: Request, task_id: str, identity: Caller) -> Response:
    """Go on where a pause stopped."""
    gateway = gateway_of(request)
    return await _answer(gateway, await gateway.services.tasks.resume(known_form(task_id), user_id=identity.user_id))


@router.post("/downloads/{task_id}/finish", response_model=TaskAnswer, responses=STEERED)
async def finish(request: Request, task_id: str, identity: Caller) -> Response:
    """End the recording of a live stream now: what was recorded becomes the file."""
    gateway = gateway_of(request)
    return await _answer(gateway, await gateway.services.tasks.finish(known_form(task_id), user_id=identity.user_id))


@router.post("/downloads/{task_id}/retry", response_model=TaskAnswer, responses=STEERED)
async def retry(request: Request, task_id: str, identity: Caller) -> Response:
    """Run a failed or cancelled task again; it costs a unit of quota like a new one."""
    gateway = gateway_of(request)
    task = await gateway.services.tasks.retry(known_form(task_id), user_id=identity.user_id, role=identity.role)
    await gateway.quota_mirror.forget(identity.user_id)
    return await _answer(gateway, task)


@router.post("/downloads/{task_id}/keep", response_model=TaskAnswer, responses=STEERED)
async def keep(request: Request, task_id: str, identity: Caller) -> Response:
    """Make a finished quick download an archive one: it stays until its user deletes it."""
    gateway = gateway_of(request)
    return await _answer(gateway, await gateway.services.tasks.keep(known_form(task_id), user_id=identity.user_id))


def known_form(task_id: str) -> str:
    """Task ids are UUIDs; whatever else is asked for does not exist and need not reach the database."""
    if TASK_ID.match(task_id):
        return task_id
    raise NotFound()


async def _answer(gateway: Gateway, task: Task) -> Response:
    [frame] = await gateway.progress.current([task])
    return success(task_shape(task, frame))
