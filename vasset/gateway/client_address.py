"""Whose request this is, when proxies stand in between: X-Forwarded-For is a claim, believed from known proxies only."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Header = tuple[bytes, bytes]


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks of ``VASSET_TRUSTED_PROXIES``. Raises ``ValueError`` naming the wrong one."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


class ClientAddress:
    """Finds the client's address and scheme of a request."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._trusted = parse_networks(trusted_proxies)

    def find(self, peer: str | None, scheme: str, headers: Sequence[Header]) -> tuple[str, str]:
        """``(address, scheme)``. Walks X-Forwarded-For from the right and stops at the first address nobody vouches for."""
        if peer is None or not self._trusted or not self._is_trusted(peer):
            return peer or "unknown", scheme
        for name, value in headers:
            if name == b"x-forwarded-proto":
                claimed = value.decode("latin-1").rpartition(",")[2].strip().lower()
                scheme = claimed if claimed in {"http", "https"} else scheme
        address = peer
        for hop in reversed(_hops(headers)):
            if not _is_address(hop):
                break
            address = hop
            if not self._is_trusted(hop):
                break
        return address, scheme

    def _is_trusted(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)


def _hops(headers: Sequence[Header]) -> list[str]:
    joined = b",".join(value for name, value in headers if name == b"x-forwarded-for")
    return [part.strip() for part in joined.decode("latin-1").split(",") if part.strip()]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
