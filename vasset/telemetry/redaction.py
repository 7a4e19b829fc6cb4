"""The one place that knows what a secret looks like (REQUIREMENTS H3).

Redaction errs on the side of hiding: a query string is dropped whole, because signed media URLs carry their secret under names
nobody can list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[redacted]"

_URL_TAIL = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s?#\"'<>\\]*)[?#][^\s\"'<>\\]*", re.IGNORECASE)


def redact_url(url: str) -> str:
    """The URL without credentials, query and fragment."""
    return _URL_TAIL.sub(r"\g<head>", url)


def redact(value: Any) -> Any:
    """Whatever is logged, without secrets."""
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, Mapping):
        return {key: redact(item) for key, item in value.items()}
    return value
