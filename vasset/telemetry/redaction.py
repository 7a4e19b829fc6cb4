"""The one place that knows what a secret looks like (REQUIREMENTS H3).

Everything that is logged passes :func:`redact`, whoever wrote it: our own events, libraries, tracebacks, the lines of children. It errs
on the side of hiding: a query string is dropped whole, because signed media URLs carry their secret under names nobody can list, and
whatever is as long as a token of ours is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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
_SECRET_KEY = re.compile(rf"(?:\A|[_-]){_SECRET_NAME}\Z", re.IGNORECASE)
# Compound names in camel or running case: accessToken, refreshtoken, dbPassword, X-Amz-Signature.
_SECRET_ENDING = re.compile(
    r"(?:password|passwd|secret|token|cookie|cookies|apikey|signature|authorization)\Z", re.IGNORECASE
)

_SECRET_FLAG = re.compile(
    rf"(?:\A|-)(?:{_SECRET_NAME}|add-headers?|username|video-password|ap-password|twofactor)\Z", re.IGNORECASE
)
_SECRET_HEADER = re.compile(
    r"(?:\A|-)(?:authorization|authenticate|(?:set-)?cookie2?|sec-websocket-protocol)\Z", re.IGNORECASE
)
_LONGEST_NAME = 64

# Foreign text is searched by these, so none may look at a letter twice: a name or an address is found where its run of letters begins
# (a lookbehind), taken whole (possessive), and judged afterwards, in Python, by its last letters.
# ``tests/unit/test_expressions.py`` attacks every expression of the product with what makes searching quadratic.
_WORD = re.compile(r"[^\s\"'<>\\]++")
_WORD_WITH_BACKSLASHES = re.compile(r"[^\s\"'<>]++")
_ENCODED_WORD = re.compile(r"[^\s\"'&]++")
_QUERY = re.compile(r"[?#]")
_ROOT = re.compile(r"(?<![\w?])/")
_NAME_AND_COLON = re.compile(r"(?<![\w-])([\w-]++)[\"']?\s*+:\s*+")
_LINE = re.compile(r"[^\r\n]++")
_FLAG = re.compile(r"--(?!-)([\w-]{1,64}+)[\s=]++")
_ARGUMENT = re.compile(r"\"[^\"]*+\"|'[^']*+'|\S++")
_NAME_AND_EQUALS = re.compile(r"(?<![\w-])([\w-]++)[\"']?\s*+(?:=>|[=:])\s*+")
# What is cut off before its closing quote is hidden to the end.
_VALUE = re.compile(
    r"b?\"(?:[^\"\\]|\\[\s\S])*+(?:\"|\\?\Z)|b?'(?:[^'\\]|\\[\s\S])*+(?:'|\\?\Z)|(?!\[redacted\])[^\s,;&)}\]\"']++"
)

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        HIDDEN,
    ),
    # user:password@ of any URL or DSN; only before the path, so that https://host/@name stays
    (re.compile(r"(?<=://)[^\s/\"'<>]*@"), f"{HIDDEN}@"),
)
_MORE_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"\b(?P<scheme>bearer|basic|digest|negotiate)\s++[A-Za-z0-9._~+/=,:\"-]{4,}+", re.IGNORECASE),
        rf"\g<scheme> {HIDDEN}",
    ),
)
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\beyJ[A-Za-z0-9_.-]{16,}+"), HIDDEN),  # JWT and JWE
    (re.compile(r"\bv(?:rt|in)_[A-Za-z0-9_-]{8,}+"), HIDDEN),  # our refresh tokens and invitations
    (re.compile(r"(?<![A-Za-z0-9_-])(?=[A-Za-z_-]*+[0-9])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])"), HIDDEN),  # 256 bits in base64url
    (re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"), HIDDEN),  # bcrypt
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}+|\bsk-[A-Za-z0-9_-]{20,}+"), HIDDEN),
    # a line of a Netscape cookie file: the seventh field is the value
    (re.compile(r"(?<![^\r\n])(?P<head>(?:[^\t\r\n]*+\t){5}[^\t\r\n]++\t)[^\r\n]++"), rf"\g<head>{HIDDEN}"),
)  # fmt: skip

_SUSPICIOUS = re.compile(r"[?#=:\t$]|--|eyJ|v(?:rt|in)_|[A-Za-z0-9_-]{20}|bearer|basic", re.IGNORECASE)


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
    text = _replaced(text, _PATTERNS)
    if "://" in text:
        text = _WORD.sub(_without_query, text)
    if "%3" in text:
        text = _ENCODED_WORD.sub(_without_encoded_query, text)
    if "?" in text:
        text = _WORD_WITH_BACKSLASHES.sub(_without_query_of_a_path, text)
    if ":" in text:
        # header lines, whole: a cookie's own syntax has spaces and semicolons
        text = _hidden_after(text, _NAME_AND_COLON, _is_header, _LINE)
    text = _replaced(text, _MORE_PATTERNS)
    if "--" in text:
        text = _hidden_after(text, _FLAG, _is_flag, _ARGUMENT)
    text = _hidden_after(text, _NAME_AND_EQUALS, _is_name, _VALUE)
    return _replaced(text, _SHAPES)


def _replaced(text: str, patterns: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, replacement in patterns:
        text = pattern.sub(replacement, text)
    return text


def _hidden_after(text: str, names: re.Pattern[str], is_secret: Callable[[str], bool], value: re.Pattern[str]) -> str:
    """Hide the ``value`` that stands directly behind a secret name."""
    kept: list[str] = []
    end = 0
    for name in names.finditer(text):
        if name.start() >= end and is_secret(name[1]) and (found := value.match(text, name.end())) is not None:
            kept += [text[end : name.end()], HIDDEN]
            end = found.end()
    return "".join([*kept, text[end:]]) if kept else text


def _without_query(word: re.Match[str]) -> str:
    """Query and fragment of any URL in it."""
    start = word[0].find("://")
    found = _QUERY.search(word[0], start + 3) if start >= 0 else None
    return word[0] if found is None else f"{word[0][: found.start()]}?{HIDDEN}"


def _without_encoded_query(word: re.Match[str]) -> str:
    """The same percent-encoded inside something else."""
    lowered = word[0].lower()
    start = lowered.find("%3a%2f%2f")
    query = lowered.find("%3f", start) if start >= 0 else -1
    return word[0] if query < 0 else f"{word[0][:query]}%3F{HIDDEN}"


def _without_query_of_a_path(word: re.Match[str]) -> str:
    """ "GET /path?query HTTP/1.1", Location: /path?query."""
    path = _ROOT.search(word[0])
    query = word[0].find("?", path.end()) if path is not None else -1
    return word[0] if query < 0 or query + 1 == len(word[0]) else f"{word[0][:query]}?{HIDDEN}"


def _is_header(name: str) -> bool:
    ending = name[-_LONGEST_NAME:].lower()
    if _SECRET_HEADER.search(ending):
        return True
    own = f"-{ending}".find("-x-")
    return own >= 0 and any(word in ending[own:] for word in ("token", "key", "auth", "secret"))


def _is_flag(name: str) -> bool:
    return _SECRET_FLAG.search(name) is not None


def _is_name(name: str) -> bool:
    return _known_ending(name[-_LONGEST_NAME:])


def redact_url(url: str) -> str:
    """The URL without credentials, query and fragment: still a URL, for places that keep it as one."""
    head = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"(?<=://)[^/]*@", "", head)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is hidden whatever it holds. Its last letters decide."""
    ending = name[-_LONGEST_NAME:]
    return bool(_SECRET_KEY.search(ending) or _SECRET_ENDING.search(ending))


def _redact_named(name: str, value: Any, depth: int) -> tuple[str, Any]:
    shown, hides = _known_name(name) if len(name) <= 64 else _judged_name(name)
    if hides and value is not None and not isinstance(value, bool):
        return shown, HIDDEN
    return shown, redact(value, _depth=depth + 1)


def _judged_name(name: str) -> tuple[str, bool]:
    return redact_text(name), is_secret_name(name)


_known_ending = lru_cache(maxsize=512)(is_secret_name)
_known_name = lru_cache(maxsize=512)(_judged_name)
"""Our own events have the same few fields in every line; judging them again was half of what a line costs."""
