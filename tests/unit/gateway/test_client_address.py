"""Whom a request is counted against when headers lie."""

from __future__ import annotations

import pytest

from vasset.domain.network import network_of
from vasset.gateway.client_address import ClientAddress, parse_networks

PEER = "10.0.0.1"
BEHIND_PROXY = ClientAddress(["10.0.0.0/8", "fd00::/8"])


def forwarded(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode()) for value in values]


def test_a_stranger_cannot_choose_an_address() -> None:
    for finder in (ClientAddress([]), BEHIND_PROXY):
        assert finder.find("203.0.113.9", "http", forwarded("127.0.0.1"))[0] == "203.0.113.9"


@pytest.mark.parametrize(("values", "expected"), [
    (["198.51.100.7"], "198.51.100.7"),
    (["127.0.0.1, 198.51.100.7"], "198.51.100.7"),
    (["6.6.6.6", "198.51.100.7, 10.2.2.2"], "198.51.100.7"),
    (["2001:db8::1, fd00::2"], "2001:db8::1"),
    (["198.51.100.7, garbage"], PEER),
    (["198.51.100.7, garbage, 10.2.2.2"], "10.2.2.2"),
    ([""], PEER),
    ([], PEER),
])  # fmt: skip
def test_the_nearest_address_that_no_proxy_of_ours_has_is_the_client(values: list[str], expected: str) -> None:
    assert BEHIND_PROXY.find(PEER, "http", forwarded(*values))[0] == expected


def test_a_mapped_peer_is_the_same_proxy() -> None:
    assert BEHIND_PROXY.find("::ffff:10.0.0.1", "http", forwarded("198.51.100.7"))[0] == "198.51.100.7"


@pytest.mark.parametrize(("peer", "scheme"), [(PEER, "https"), ("203.0.113.9", "http")])
def test_https_is_believed_from_a_known_proxy_only(peer: str, scheme: str) -> None:
    assert BEHIND_PROXY.find(peer, "http", [(b"x-forwarded-proto", b"https")])[1] == scheme


def test_a_wrong_network_in_the_settings_is_named() -> None:
    with pytest.raises(ValueError, match="300"):
        parse_networks(["300.0.0.0/8"])


def test_a_household_of_ipv6_is_one_network() -> None:
    assert network_of("2001:db8:1:2:3::4") == network_of("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::1") != network_of("2001:db8:1:2::1")
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("unknown") == "unknown"
