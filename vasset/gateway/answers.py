"""The envelope of every answer: ``{"code":0,"message":"ok","data":…}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

JSON = "application/json"


class JsonResponse(Response):
    """orjson instead of FastAPI's encoder: routes hand over plain dictionaries and dataclasses."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)


def success(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"code": 0, "message": "ok", "data": data}, status_code=status, headers=headers)
