"""``/`` and ``/static/…``: the built page, read once at start and served from memory.

A dictionary knows no path traversal, needs no thread hop and is a few hundred KiB. ``/static/assets/*`` carry a content hash in
their names, so they never change; everything else is asked for again by ETag.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from vasset.domain.errors import NotFound
from vasset.gateway.access import public
from vasset.gateway.files.conditions import is_not_modified
from vasset.gateway.files.encoding import takes_gzip
from vasset.gateway.middleware.security_headers import PAGE_CSP
from vasset.gateway.route import ApiRoute, uncounted

IMMUTABLE = b"public, max-age=31536000, immutable"
ASK_AGAIN = b"no-cache"
MIN_GZIP_BYTES = 1024
TYPES = {".webmanifest": "application/manifest+json", ".woff2": "font/woff2", ".js": "text/javascript"}


@dataclass(frozen=True, slots=True)
class Asset:
    """``tag`` is of the plain bytes; compressed they are another sequence of bytes, which needs another strong one (RFC 9110 8.8.3.3)."""

    content: bytes
    compressed: bytes | None
    headers: tuple[tuple[bytes, bytes], ...]
    tag: bytes

    @property
    def compressed_tag(self) -> bytes:
        return self.tag[:-1] + b'-gzip"'


def load_assets(folder: Path) -> dict[str, Asset]:
    """Every built file by its path below ``folder``; empty when the page has not been built."""
    if not folder.is_dir():
        return {}
    return {
        path.relative_to(folder).as_posix(): _load(path, path.relative_to(folder).as_posix())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _load(path: Path, name: str) -> Asset:
    content = path.read_bytes()
    compressed = gzip.compress(content, 9, mtime=0) if len(content) >= MIN_GZIP_BYTES else None
    if compressed is not None and len(compressed) > 0.9 * len(content):
        compressed = None
    media_type = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    tag = b'"' + hashlib.sha256(content).hexdigest()[:32].encode() + b'"'
    headers = (
        (b"content-type", media_type.encode()),
        (b"content-security-policy", PAGE_CSP),
        (b"cache-control", IMMUTABLE if name.startswith("assets/") else ASK_AGAIN),
        (b"vary", b"accept-encoding"),
    )
    return Asset(content, compressed, headers, tag)


def page_router(assets: dict[str, Asset]) -> APIRouter:
    router = APIRouter(route_class=ApiRoute)

    @router.get("/", include_in_schema=False)
    @router.head("/", include_in_schema=False)
    @public
    @uncounted
    async def page(request: Request) -> Response:
        return _serve(request, assets.get("index.html"))

    @router.get("/static/{name:path}", include_in_schema=False)
    @router.head("/static/{name:path}", include_in_schema=False)
    @public
    @uncounted
    async def static(request: Request, name: str) -> Response:
        return _serve(request, assets.get(name))

    return router


def _serve(request: Request, asset: Asset | None) -> Response:
    if asset is None:
        raise NotFound("There is no such file of the page.")
    squeeze = asset.compressed is not None and takes_gzip(",".join(request.headers.getlist("accept-encoding")))
    tag = asset.compressed_tag if squeeze else asset.tag
    headers = [*asset.headers, (b"etag", tag)]
    if_none_match = request.headers.get("if-none-match")
    if is_not_modified(if_none_match.encode("latin-1") if if_none_match else None, tag):
        response = Response(status_code=304)
        response.raw_headers = headers
        return response
    content = asset.compressed if squeeze and asset.compressed is not None else asset.content
    response = Response(content)
    response.raw_headers = [*headers, (b"content-length", b"%d" % len(content))]
    if squeeze:
        response.raw_headers.append((b"content-encoding", b"gzip"))
    return response
