"""The engine's egress guard as Python uses it: one spelling per URL, and the loopback proxy for children and webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from vasset import _engine
from vasset.domain.errors import EgressRefused, InvalidInput, InvalidUrl


def canonicaliser(egress_allow: Sequence[str]) -> Callable[[str], str]:
    """A function that answers the canonical http(s) URL or raises ``InvalidUrl`` or ``EgressRefused``. It resolves nothing."""
    allowed = tuple(egress_allow)

    def canonicalise(url: str) -> str:
        try:
            return _engine.canonical_url(url, allowed)
        except _engine.EgressDenied as error:
            raise EgressRefused(str(error)) from error
        except (_engine.InvalidRequest, UnicodeEncodeError) as error:
            raise InvalidUrl(str(error)) from error

    return canonicalise


def open_guard(egress_allow: Sequence[str]) -> AbstractContextManager[_engine.GuardProxy]:
    """The loopback proxy of this process. Raises ``InvalidInput`` for an entry that cannot be read."""
    try:
        return _engine.GuardProxy(egress_allow=tuple(egress_allow))
    except _engine.EgressDenied as error:
        raise InvalidInput(f"VASSET_EGRESS_ALLOW: {error}") from error


def address_check(egress_allow: Sequence[str]) -> Callable[[str, int], str | None]:
    """A function that answers why an IP address may not be reached at a port; None when it is public, or named by the operator."""
    allowed = tuple(egress_allow)

    def check(address: str, port: int) -> str | None:
        host = f"[{address}]" if ":" in address else address
        try:
            _engine.canonical_url(f"http://{host}:{port}/", allowed)
        except (_engine.EgressDenied, _engine.InvalidRequest) as error:
            return str(error)
        return None

    return check
