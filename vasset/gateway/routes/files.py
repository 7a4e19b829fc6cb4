"""``GET|HEAD /api/v1/download/file``: the finished file, to its user only."""

from __future__ import annotations

import os
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from vasset.domain.download import TaskStatus
from vasset.domain.errors import NotFound, StorageFailed, Unauthenticated
from vasset.domain.history import HistoryEntry
from vasset.domain.user import Identity
from vasset.gateway import schemas
from vasset.gateway.access import bearer_token, ticket_or_identity
from vasset.gateway.answers import success
from vasset.gateway.deps import Gateway, gateway_of, identity_of
from vasset.gateway.files.byte_range import ByteRange, Unsatisfiable, parse_range
from vasset.gateway.files.conditions import entity_tag, if_match_fails, is_not_modified, range_applies
from vasset.gateway.files.delivery import FileDelivery
from vasset.gateway.files.disposition import content_disposition, may_play_inline, media_type_of
from vasset.gateway.files.remote import RemoteDelivery
from vasset.gateway.route import ApiRoute
from vasset.gateway.shapes import has_file
from vasset.gateway.tickets import TICKET_SECONDS, Bearer, token_end

log = structlog.get_logger("vasset.gateway.files")
router = APIRouter(prefix="/api/v1", route_class=ApiRoute, tags=["files"])

PURPOSE, PASS_PURPOSE = "file", "file-pass"
PASS_SECONDS = 6 * 3600
FILE_PATH = "/api/v1/download/file"
FILE_CSP = b"default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "Not Modified"},
    404: {"model": schemas.FailureBody},
    412: {"description": "Precondition Failed"},
    416: {"description": "Range Not Satisfiable"},
}


@router.post(
    "/download/ticket",
    response_model=schemas.Envelope[schemas.TicketData],
    responses={status: {"model": schemas.FailureBody} for status in (404, 413, 415, 422)},
)
async def file_ticket(
    request: Request,
    body: schemas.FileTicketBody,
    identity: Annotated[Identity, Depends(identity_of)],
) -> Response:
    """A ticket for one file, good once within 30 s, for a link that a browser follows."""
    gateway = gateway_of(request)
    await gateway.services.library.entry(identity, body.history_id)
    bearer = Bearer(
        user_id=identity.user_id,
        role=int(identity.role),
        session_id=identity.session_id,
        expires_at=token_end(bearer_token(request.headers)),
        history_id=body.history_id,
    )
    return success({"ticket": await gateway.tickets.issue(PURPOSE, bearer), "expires_in": TICKET_SECONDS})


@router.get("/download/file", response_class=Response, responses=BINARY, operation_id="get_file")
@router.head("/download/file", response_class=Response, responses=BINARY, operation_id="head_file")
@ticket_or_identity
async def file(request: Request, query: Annotated[schemas.FileQuery, Query()]) -> Response:
    """The bytes of a finished download. One byte range, ``If-Range``, ``If-None-Match``; several ranges answer the whole file."""
    gateway = gateway_of(request)
    identity, cookie = await _admit(request, gateway, query)
    entry = await gateway.services.library.entry(identity, query.history_id)
    if entry.status is not TaskStatus.COMPLETED or not has_file(entry, gateway.services.clock.now()):
        raise NotFound("This download has no file: it is unfinished, expired or deleted.")
    headers = _headers(entry, inline=query.inline == "1")
    if cookie is not None:
        headers.append((b"set-cookie", cookie))
    return _respond(request, gateway, entry, headers)


async def _admit(request: Request, gateway: Gateway, query: schemas.FileQuery) -> tuple[Identity, bytes | None]:
    """Who asks, by token, by one-time ticket, or by the cookie a ticket left behind.

    A player sends many range requests to one address, and a ticket works once: so its first use leaves a cookie that opens this one
    file to this one browser for six hours, as long as the session lives. HttpOnly, SameSite=Strict, sent to this address only.
    """
    if query.ticket is None or "authorization" in request.headers:
        return await identity_of(request), None
    bearer = await gateway.tickets.redeem(PURPOSE, query.ticket)
    fresh = bearer is not None
    if bearer is None:
        bearer = await gateway.tickets.look_up(PASS_PURPOSE, request.cookies.get(_cookie_name(query.history_id), ""))
    if bearer is None or bearer.history_id != query.history_id:
        raise Unauthenticated("The ticket is unknown, used or older than 30 s; ask for a new one.")
    await _check_session(gateway, bearer)
    if not fresh:
        return bearer.identity, None
    file_pass = await gateway.tickets.issue(PASS_PURPOSE, bearer, ttl_seconds=PASS_SECONDS)
    secure = "; Secure" if request.scope["state"].get("scheme") == "https" else ""
    cookie = (
        f"{_cookie_name(query.history_id)}={file_pass}; Path={FILE_PATH}; Max-Age={PASS_SECONDS}; "
        f"HttpOnly; SameSite=Strict{secure}"
    )
    return bearer.identity, cookie.encode()


def _cookie_name(history_id: int) -> str:
    return f"vasset_file_{history_id}"


async def _check_session(gateway: Gateway, bearer: Bearer) -> None:
    sessions = await gateway.services.authority.sessions(bearer.identity)
    if all(session.id != bearer.session_id for session in sessions):
        raise Unauthenticated("The session behind this ticket has ended; sign in again.")


def _headers(entry: HistoryEntry, *, inline: bool) -> list[tuple[bytes, bytes]]:
    name = entry.file_name or f"download-{entry.id}"
    media_type = media_type_of(name)
    disposition = content_disposition(name, inline=inline and may_play_inline(media_type), number=entry.id)
    headers = [
        (b"content-type", media_type.encode()),
        (b"content-disposition", disposition.encode("ascii")),
        (b"accept-ranges", b"bytes"),
        (b"content-security-policy", FILE_CSP),
        (b"cache-control", b"private, no-cache"),
    ]
    if entry.file_hash:
        headers.append((b"etag", entity_tag(entry.file_hash)))
    return headers


def _respond(request: Request, gateway: Gateway, entry: HistoryEntry, headers: list[tuple[bytes, bytes]]) -> Response:
    tag = entity_tag(entry.file_hash) if entry.file_hash else b""
    if tag and if_match_fails(_joined(request, b"if-match"), tag):
        return _bare(412, headers)
    if tag and is_not_modified(_joined(request, b"if-none-match"), tag):
        return _bare(304, headers)
    assert entry.file_path is not None
    prefix = gateway.settings.accel_redirect_prefix
    if prefix is not None:
        # nginx reads the file, so it also judges Range and If-Range, against the ETag given here.
        location = f"{prefix.rstrip('/')}/{quote(entry.file_path)}"
        return _bare(200, [*headers, (b"x-accel-redirect", location.encode("ascii"))])
    if entry.file_owner is not None:
        return _respond_remotely(request, gateway, entry, tag, headers)
    descriptor = _open(gateway, entry)
    try:
        size = os.fstat(descriptor).st_size
        wanted = _range_of(request, tag, size)
    except Unsatisfiable:
        os.close(descriptor)
        return _bare(416, [*headers, (b"content-range", b"bytes */%d" % size)])
    if wanted is None:
        return FileDelivery(descriptor, 0, size, status=200, headers=headers)
    content_range = b"bytes %d-%d/%d" % (wanted.first, wanted.last, size)
    return FileDelivery(
        descriptor, wanted.first, wanted.length, status=206, headers=[*headers, (b"content-range", content_range)]
    )


def _respond_remotely(
    request: Request, gateway: Gateway, entry: HistoryEntry, tag: bytes, headers: list[tuple[bytes, bytes]]
) -> Response:
    remote, path, owner, size = gateway.services.remote_files, entry.file_path, entry.file_owner, entry.file_size
    if remote is None or path is None or owner is None or size is None:
        raise NotFound("This file is on a worker that this gateway does not know.")
    try:
        wanted = _range_of(request, tag, size)
    except Unsatisfiable:
        return _bare(416, [*headers, (b"content-range", b"bytes */%d" % size)])
    first, length = (0, size) if wanted is None else (wanted.first, wanted.length)
    pieces = remote.read(owner, path, offset=first, length=length)
    if wanted is None:
        return RemoteDelivery(pieces, length, status=200, headers=headers)
    content_range = b"bytes %d-%d/%d" % (wanted.first, wanted.last, size)
    return RemoteDelivery(pieces, length, status=206, headers=[*headers, (b"content-range", content_range)])


def _range_of(request: Request, tag: bytes, size: int) -> ByteRange | None:
    """None when the whole file is to be sent. §14.2: Range counts for GET only."""
    ranges = [value for name, value in request.scope["headers"] if name == b"range"]
    if len(ranges) != 1 or request.method != "GET" or not range_applies(_joined(request, b"if-range"), tag):
        return None
    return parse_range(ranges[0], size)


def _joined(request: Request, wanted: bytes) -> bytes | None:
    values = [value for name, value in request.scope["headers"] if name == wanted]
    return b", ".join(values) if values else None


def _open(gateway: Gateway, entry: HistoryEntry) -> int:
    assert entry.file_path is not None
    descriptor = gateway.services.storage.open(entry.file_path)
    found = os.fstat(descriptor)
    if entry.file_size is not None and found.st_size != entry.file_size:
        os.close(descriptor)
        log.error("file_damaged", history_id=entry.id, expected=entry.file_size, found=found.st_size)
        raise StorageFailed("The stored file is damaged and is not handed out; start the download again.")
    return descriptor


def _bare(status: int, headers: list[tuple[bytes, bytes]]) -> Response:
    response = Response(status_code=status)
    kept = (
        headers
        if status < 300
        else [pair for pair in headers if pair[0] not in {b"content-type", b"content-disposition"}]
    )
    response.raw_headers = [*kept] if status == 304 else [*kept, (b"content-length", b"0")]
    return response
