"""Which form of a body a client takes (RFC 9110 12.5.3)."""

from __future__ import annotations


def takes_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named, or ``*``, with a weight above 0. A weight that cannot be read counts as 0: plain is always right."""
    weights = dict(_weight(part) for part in accept_encoding.lower().split(","))
    named = max((weights[name] for name in ("gzip", "x-gzip") if name in weights), default=None)
    return (weights.get("*", 0.0) if named is None else named) > 0


def _weight(part: str) -> tuple[str, float]:
    name, *parameters = part.split(";")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name.strip(), float(value)
            except ValueError:
                return name.strip(), 0.0
    return name.strip(), 1.0
