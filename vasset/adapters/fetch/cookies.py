"""Cookies a person hands to ``vasset fetch``: the file that browsers and curl export, or ``name=value`` for one host.

Exporters disagree about the format, so it is read as it is found: without its first line, with a byte order mark, with spaces for tabs, with
``#HttpOnly_``, a dot and a flag that contradict one another, and expiry dates in milliseconds, with decimals or empty.
"""

from __future__ import annotations

from vasset import _engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HTTP_ONLY = "#HttpOnly_"
FIELDS = 7
# Seconds reach this in the year 5138; milliseconds did in 1973.
SMALLEST_MILLISECONDS = 100_000_000_000


class UnreadableCookies(ValueError):
    """Nothing in the file is a cookie; the message never shows a value."""


def read_file(path: str) -> list[_engine.Cookie]:
    """Raises ``OSError`` and :class:`UnreadableCookies`."""
    return [_engine.Cookie(**fields) for fields in read_fields(path)]


def read_fields(path: str) -> list[dict[str, Any]]:
    """The arguments of each cookie, every one of which the engine takes. Raises ``OSError`` and :class:`UnreadableCookies`."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:  # noqa: PTH123  # pathlib takes longer to import than the file to read
        lines = [line.rstrip("\r\n") for line in file]
    found, strange = [], 0
    for line in lines:
        if not line.strip() or (line.startswith("#") and not line.startswith(HTTP_ONLY)):
            continue
        cookie = _of_line(line.removeprefix(HTTP_ONLY))
        if cookie is None:
            strange += 1
        else:
            found.append(cookie)
    if strange and not found:
        raise UnreadableCookies(
            f"{path} is no cookies.txt: none of its {strange} lines has the {FIELDS} fields of one; export it in Netscape format"
        )
    return found


def of_address(pairs: str, url: str, allowed: list[str]) -> list[_engine.Cookie]:
    """``a=b; c=d`` for every port, path and scheme of the host of ``url``. Raises ``InvalidRequest`` and ``EgressDenied``."""
    authority = _engine.canonical_url(url, allowed).split("/")[2]
    host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    named = [pair.strip().partition("=") for pair in pairs.split(";") if pair.strip()]
    return [_engine.Cookie(name.strip(), value.strip(), host) for name, _, value in named]


def _of_line(line: str) -> dict[str, Any] | None:
    fields = line.split("\t")
    if len(fields) < FIELDS - 1:
        fields = line.split(None, FIELDS - 1)
    if len(fields) == FIELDS - 1:
        fields.append("")
    if len(fields) < FIELDS:
        return None
    domain, below, path, secure, expires, name, value = (
        field.strip() for field in (*fields[:6], "\t".join(fields[6:]))
    )
    bare = domain.lstrip(".")
    includes_subdomains = domain.startswith(".") or below.upper() == "TRUE"
    cookie: dict[str, Any] = {
        "name": name,
        "value": value,
        "domain": f".{bare}" if includes_subdomains else bare,
        "path": path or "/",
        "secure": secure.upper() == "TRUE",
        "expires": _seconds(expires),
    }
    try:
        _engine.Cookie(**cookie)
    except _engine.InvalidRequest:
        return None
    return cookie


def _seconds(text: str) -> float | None:
    """None for a cookie of the session, which is what 0, a minus and nothing at all stand for."""
    try:
        number = float(text or 0)
    except ValueError:
        return None
    if not 0 < number < float("inf"):
        return None
    return number / 1000 if number >= SMALLEST_MILLISECONDS else number
