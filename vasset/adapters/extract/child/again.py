"""The formats of an extraction before, found again in a fresh one: their addresses ran out, they themselves are still what is being fetched.

Sites number formats anew for another client (YouTube's ``140`` becomes ``140-1``) and offer others meanwhile, so neither the id nor "the
best of today" will do: codec, language, height and length decide, and the id only among equals. Pure.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from vasset.adapters.extract.child.sizes import estimate
from vasset.adapters.extract.child.streams import codecs_of, safe_id


def find_again(formats: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """One format for each of ``wanted`` (streams of before), under the id it had; None as soon as one of them is gone."""
    found: list[dict[str, Any]] = []
    for stream in wanted:
        same = [form for form in formats if form.get("url") and _is_same(form, stream)]
        if not same:
            return None
        best = max(same, key=lambda form: _likeness(form, stream))
        found.append({**best, "format_id": stream["format_id"]})
    return found


def _is_same(form: dict[str, Any], stream: dict[str, Any]) -> bool:
    if str(form.get("ext") or "").lower() != stream["file_name"].rpartition(".")[2]:
        return False
    size = estimate({"filesize": form.get("filesize")}, None)[0]
    pairs = (
        (codecs_of(form), stream.get("codecs")), (form.get("language"), stream.get("language")), (size, stream.get("size_bytes")),
    )  # fmt: skip
    if any(now is not None and before is not None and now != before for now, before in pairs):
        return False
    # Nothing but its name says which one it is.
    known = stream.get("codecs") is not None and stream.get("size_bytes") is not None
    return known or safe_id(form) == stream["format_id"]


def _likeness(form: dict[str, Any], stream: dict[str, Any]) -> tuple[bool, bool, bool]:
    exact = safe_id(form)
    return (
        exact == stream["format_id"],
        _client(form.get("url")) == _client(stream.get("url")),
        exact.partition("-")[0] == stream["format_id"].partition("-")[0],
    )


def _client(url: Any) -> list[str]:
    """Which of a site's players the address was made for, where the address says so."""
    try:
        return parse_qs(urlsplit(str(url)).query, max_num_fields=100).get("c", [])
    except ValueError:
        return []
