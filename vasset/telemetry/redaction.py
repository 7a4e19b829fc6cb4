"""The one place that knows what a secret looks like (REQUIREMENTS H3).

Everything that is logged passes :func:`redact`, whoever wrote it: our own events, libraries, tracebacks, the lines of children. It errs
on the side of hiding: a query string is dropped whole, because signed media URLs carry their secret under names nobody can list, and
whatever is as long as a token of ours is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "[redacted]"
MAX_CHARACTERS = 16_384
MAX_DEPTH = 8
MAX_ITEMS = 200

_SECRET_NAME = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|tokens|auth|authorization|cookies?|credentials?|api[_-]?key|apikey|"
    r"access[_-]?key|private[_-]?key|secret[_-]?key|signing[_-]?key|client[_-]?key|signature|sig|ticket|jwt|bearer|"
    r"sessionid|sid|invitation|otp|hmac)"
)
_NAMED = rf"(?:[\w-]*[_-])?{_SECRET_NAME}"

_SECRET_KEY = re.compile(rf"{_NAMED}\Z", re.IGNORECASE)
# Compound names in camel or running case: accessToken, refreshtoken, dbPassword, X-Amz-Signature.
_SECRET_ENDING = re.compile(
    r"(?:password|passwd|secret|token|cookie|cookies|apikey|signature|authorization)\Z", re.IGNORECASE
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    # user:password@ of any URL or DSN; only before the path, so that https://host/@name stays
    (re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/\"'<>]*@", re.IGNORECASE), rf"\g<scheme>{HIDDEN}@"),
    # query and fragment of any URL
    (
        re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s?#\"'<>\\]*)[?#][^\s\"'<>\\]*", re.IGNORECASE),
        rf"\g<head>?{HIDDEN}",
    ),
    # the same percent-encoded inside something else
    (re.compile(r"(?P<head>\bhttps?%3A%2F%2F[^\s\"'&?]*?)%3F[^\s\"'&]*", re.IGNORECASE), rf"\g<head>%3F{HIDDEN}"),
    # "GET /path?query HTTP/1.1", Location: /path?query
    (re.compile(r"(?P<head>(?<![\w?])/[^\s?\"'<>]*)\?[^\s\"'<>]+"), rf"\g<head>?{HIDDEN}"),
    # header lines, whole: a cookie's own syntax has spaces and semicolons
    (
        re.compile(
            r"(?P<name>\b(?:proxy-|www-)?(?:authorization|authenticate)|\b(?:set-)?cookie2?|\bx-[\w-]*(?:token|key|auth|secret)"
            r"[\w-]*|\bsec-websocket-protocol)(?P<colon>[\"']?\s*:\s*)[^\r\n]+",
            re.IGNORECASE,
        ),
        rf"\g<name>\g<colon>{HIDDEN}",
    ),
    (re.compile(r"\b(?P<scheme>bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=,:\"-]{4,}", re.IGNORECASE), rf"\g<scheme> {HIDDEN}"),
    # --password secret, --cookies=secret, --add-header "Cookie: …"
    (
        re.compile(rf"(?P<flag>--(?:[\w-]*-)?(?:{_SECRET_NAME}|add-headers?|username|video-password|ap-password|twofactor))"
                   r"(?P<gap>[\s=]+)(?:\"[^\"]*\"|'[^']*'|\S+)", re.IGNORECASE),
        rf"\g<flag>\g<gap>{HIDDEN}",
    ),
    # name=value, "name": "value", name: value, TokenPair(access_token='…')
    (
        re.compile(
            rf"(?P<name>(?<![\w-])(?:{_NAMED}|\w*(?:password|secret|token|cookie|signature|apikey))[\"']?)"
            r"(?P<equals>\s*(?:=>|[=:])\s*)(?:b?\"(?:[^\"\\]|\\.)*\"|b?'(?:[^'\\]|\\.)*'|(?!\[redacted\])[^\s,;&)}\]\"']+)",
            re.IGNORECASE,
        ),
        rf"\g<name>\g<equals>{HIDDEN}",
    ),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,4}"), HIDDEN),  # JWT and JWE
    (re.compile(r"\bv(?:rt|in)_[A-Za-z0-9_-]{8,}"), HIDDEN),  # our refresh tokens and invitations
    (re.compile(r"(?<![A-Za-z0-9_-])(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), HIDDEN),  # 256 bits in base64url
    (re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"), HIDDEN),  # bcrypt
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}"), HIDDEN),
    # a line of a Netscape cookie file: the seventh field is the value
    (re.compile(r"(?P<head>(?:[^\t\r\n]*\t){5}[^\t\r\n]+\t)[^\t\r\n]+"), rf"\g<head>{HIDDEN}"),
)  # fmt: skip

_SUSPICIOUS = re.compile(r"[?=:\t$]|--|eyJ|v(?:rt|in)_|[A-Za-z0-9_-]{20}|bearer|basic", re.IGNORECASE)


def redact(value: Any, *, _depth: int = 0) -> Any:
    """The same value without secrets: strings are rewritten, containers rebuilt, everything unknown becomes its redacted ``repr``."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if _depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_ITEMS]
        return dict(_redact_named(str(key), item, _depth) for key, item in items)
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, _depth=_depth + 1) for item in list(value)[:MAX_ITEMS]]
    return redact_text(repr(value))


def redact_text(text: str) -> str:
    """A line, a message or a traceback without secrets. Longer than 16 KiB it is cut."""
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS] + "… [cut]"
    if not _SUSPICIOUS.search(text):
        return text
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_url(url: str) -> str:
    """The URL without credentials, query and fragment: still a URL, for places that keep it as one."""
    head = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"(?<=://)[^/]*@", "", head)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is hidden whatever it holds."""
    return bool(_SECRET_KEY.match(name) or _SECRET_ENDING.search(name))


def _redact_named(name: str, value: Any, depth: int) -> tuple[str, Any]:
    shown, hides = _known_name(name) if len(name) <= 64 else _judged_name(name)
    if hides and value is not None and not isinstance(value, bool):
        return shown, HIDDEN
    return shown, redact(value, _depth=depth + 1)


def _judged_name(name: str) -> tuple[str, bool]:
    return redact_text(name), is_secret_name(name)


_known_name = lru_cache(maxsize=512)(_judged_name)
"""Our own events have the same few fields in every line; judging them again was half of what a line costs."""
