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


def classify_address(address: str) -> str | None:
    """Why an IP address may not be reached; None when it is public. Raises ``ValueError`` for anything but an address."""
    return _engine.classify_address(address)
