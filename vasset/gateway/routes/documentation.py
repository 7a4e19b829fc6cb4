"""``/docs``: the contract for people, one page of plain HTML made from ``/openapi.json``; no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from vasset.gateway.access import public
from vasset.gateway.answers import JsonResponse
from vasset.gateway.route import ApiRoute, uncounted

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
code, pre { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
details { border: 1px solid #8886; border-radius: 0.4rem; margin: 0.5rem 0; padding: 0.5rem 0.8rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
td, th { text-align: left; padding: 0.2rem 0.6rem 0.2rem 0; vertical-align: top; border-bottom: 1px solid #8883; }
.old { opacity: 0.6; }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CSP = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Schema = dict[str, Any]


def documentation_router(app: FastAPI) -> APIRouter:
    router = APIRouter(route_class=ApiRoute)
    rendered: list[bytes] = []

    @router.get("/docs", include_in_schema=False)
    @public
    @uncounted
    async def documentation(request: Request) -> Response:
        if not rendered:
            rendered.append(render(app.openapi()).encode())
        return Response(rendered[0], media_type="text/html", headers={"content-security-policy": CSP})

    @router.get("/openapi.json", include_in_schema=False)
    @public
    @uncounted
    async def contract(request: Request) -> Response:
        return JsonResponse(app.openapi())

    return router


def render(contract: Schema) -> str:
    """The page: every operation grouped by its tag, with its parameters, body and answers."""
    groups: dict[str, list[str]] = {}
    for path, operations in contract["paths"].items():
        for method, operation in operations.items():
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(
                _operation(method, path, operation, contract)
            )
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(parts)}" for name, parts in groups.items())
    title = escape(contract["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{title}: API {escape(contract['info']['version'])}</h1>"
        f"<p>{escape(contract['info'].get('description', ''))} "
        f'The same for programs: <a href="/openapi.json">/openapi.json</a>.</p>{body}</body></html>'
    )


def _operation(method: str, path: str, operation: Schema, contract: Schema) -> str:
    lock = " (signed in)" if operation.get("security") else ""
    old = ' class="old"' if operation.get("deprecated") else ""
    rows = [
        (p["name"], p["in"], p.get("schema", {}), p.get("description", "")) for p in operation.get("parameters", [])
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        shape = _resolve(content["schema"], contract)
        rows += [
            (name + ("" if name in shape.get("required", []) else " ?"), "body", field, field.get("description", ""))
            for name, field in shape.get("properties", {}).items()
        ]
    table = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(where)}<td><code>{escape(_type(schema))}</code>"
        f"<td>{escape(words)}</tr>"
        for name, where, schema, words in rows
    )
    answers = ", ".join(f"<code>{escape(status)}</code>" for status in operation.get("responses", {}))
    return (
        f"<details{old}><summary><b>{method.upper()}</b> <code>{escape(path)}</code>{lock}</summary>"
        f"<p>{escape(operation.get('description', ''))}</p>"
        + (f"<table><tr><th>name<th>in<th>type<th></tr>{table}</table>" if table else "")
        + f"<p>Answers: {answers}</p></details>"
    )


def _resolve(schema: Schema, contract: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Schema = contract["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    text = str(schema.get("const", schema.get("type", "any")))
    return f"{text} = {schema['default']}" if schema.get("default") is not None else text
