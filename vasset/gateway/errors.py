"""Domain errors → HTTP, the only place that knows both. Codes are HTTP status × 100 + n (REQUIREMENTS B4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from vasset.domain import errors as domain
from vasset.domain.faults import Fault, kind_of
from vasset.gateway.answers import JsonResponse


class HttpRefusal(domain.VAssetError):
    """The request is refused before it reaches a use case."""

    code = 40000


class BadRequest(HttpRefusal):
    """The request is malformed; correct it and send it again."""

    reason = "bad_request"


class UnknownHost(HttpRefusal):
    """This server does not answer to that Host name; add it to VASSET_ALLOWED_HOSTS."""

    reason = "unknown_host"
    code = 40003


class MethodNotAllowed(HttpRefusal):
    """This address does not know that method; the Allow header lists those it knows."""

    reason = "method_not_allowed"
    code = 40501


class BodyTooSlow(HttpRefusal):
    """The request body did not arrive in time."""

    reason = "body_too_slow"
    code = 40801
    retryable = True


class BodyTooLarge(HttpRefusal):
    """The request body is larger than 64 KiB."""

    reason = "body_too_large"
    code = 41301


class NotJson(HttpRefusal):
    """The body must be JSON with Content-Type: application/json."""

    reason = "not_json"
    code = 41501


class NotText(HttpRefusal):
    """A string in the body holds a lone surrogate, which is no text."""

    reason = "not_text"
    code = 42200


class TimedOut(HttpRefusal):
    """The answer took too long and was given up; try again."""

    reason = "timed_out"
    code = 50401
    retryable = True


CODES: dict[type[domain.VAssetError], int] = {
    domain.InvalidInput: 40001,
    domain.EgressRefused: 40002,
    domain.Unauthenticated: 40101,
    domain.Forbidden: 40301,
    domain.RegistrationClosed: 40302,
    domain.NotFound: 40401,
    domain.Conflict: 40901,
    domain.EmailTaken: 40902,
    domain.IdempotencyInFlight: 40903,
    domain.IllegalTransition: 40904,
    domain.UnsupportedSite: 42201,
    domain.UnavailableFormat: 42202,
    domain.ExtractionFailed: 42203,
    domain.IdempotencyMismatch: 42204,
    domain.LimitReached: 42900,
    domain.TooManyRequests: 42901,
    domain.QuotaExceeded: 42902,
    domain.TooManyTasks: 42903,
    domain.VAssetError: 50001,
    domain.TaskError: 50002,
    domain.Unavailable: 50301,
    domain.DependencyDown: 50302,
    domain.Overloaded: 50303,
    domain.BreakerOpen: 50304,
    domain.DiskPressure: 50305,
    domain.DiskFull: 50701,
}
UPSTREAM_FAILED = 50201
ABOUT_A_SITE = (domain.TaskError, domain.UnsupportedSite, domain.UnavailableFormat, domain.BreakerOpen)
DEFAULT_RETRY_AFTER_SECONDS = {429: 1.0, 503: 2.0, 504: 2.0}


def code_of(error: domain.VAssetError) -> int:
    """The API code; its HTTP status is the code without its last two digits."""
    if isinstance(error, HttpRefusal):
        return error.code
    if isinstance(error, domain.ExtractionFailed) and error.retryable:
        return CODES[domain.TaskError] if kind_of(error).fault is Fault.US else UPSTREAM_FAILED
    return next(CODES[ancestor] for ancestor in type(error).__mro__ if ancestor in CODES)


def failure(
    error: domain.VAssetError, request_id: str | None, *, extra: Mapping[str, Any] | None = None
) -> JsonResponse:
    """The failure envelope. An error nobody foresaw keeps its words to itself (H3)."""
    code = code_of(error)
    status = code // 100
    headers: dict[str, str] = {}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="vasset"'
    wait = error.retry_after_seconds
    if wait is None and error.retryable:
        wait = DEFAULT_RETRY_AFTER_SECONDS.get(status)
    if wait is not None and math.isfinite(wait):
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    body = {
        "code": code,
        "message": error.message,
        "retryable": error.retryable,
        "reason": error.reason,
        "request_id": request_id,
        **_about_a_site(error),
        **(extra or {}),
    }
    return JsonResponse(body, status_code=status, headers=headers)


def _about_a_site(error: domain.VAssetError) -> dict[str, str]:
    if not isinstance(error, ABOUT_A_SITE):
        return {}
    kind = kind_of(error)
    return {"kind": kind.name, "fault": kind.fault.value, "action": kind.action}


INTERNAL = "Something went wrong on our side; the request id leads to the log."


def internal_failure(request_id: str | None) -> JsonResponse:
    return failure(domain.VAssetError(INTERNAL), request_id)


def request_id_of(scope: Mapping[str, Any]) -> str | None:
    found: str | None = scope.get("state", {}).get("request_id")
    return found


PROBLEMS = {"extra_forbidden": "it is not known here", "missing": "it is required"}
"""By Pydantic's type of problem; its own words for the others can be read by people."""


def describe_problems(problems: Sequence[Any]) -> list[dict[str, str]]:
    """Where and what, never the value: it may be a password."""
    return [
        {
            "field": ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0]),
            "problem": PROBLEMS.get(problem["type"], problem["msg"]),
        }
        for problem in problems[:20]
    ]


def install(app: FastAPI) -> None:
    """Register the handlers. Unforeseen exceptions are caught further out, in ``middleware/request_log.py``."""

    async def on_domain_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, domain.VAssetError)
        return failure(error, request_id_of(request.scope))

    async def on_validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        problems = describe_problems(error.errors())
        first = problems[0] if problems else {"field": "request", "problem": "is malformed"}
        refusal = domain.InvalidInput(f"The field {first['field']!r} is wrong: {first['problem']}.")
        return failure(refusal, request_id_of(request.scope), extra={"problems": problems})

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refusal = _from_status(error.status_code)
        answer = failure(refusal, request_id_of(request.scope))
        for name, value in (error.headers or {}).items():
            answer.headers[name] = value
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(_methods_of(request))
        return answer

    app.add_exception_handler(domain.VAssetError, on_domain_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)


def _methods_of(request: Request) -> list[str]:
    """Of every route at this address: Starlette names those of the first one only."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in routes for method in getattr(route, "methods", None) or ()})


def _from_status(status: int) -> domain.VAssetError:
    if status == 404:
        return domain.NotFound("There is no such address; /docs lists those that exist.")
    if status == 405:
        return MethodNotAllowed()
    return BadRequest()
