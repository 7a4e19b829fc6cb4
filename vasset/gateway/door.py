"""How many connections are open, in all and from one network, and which one goes when there are too many.

One host with a thousand idle connections shut everybody else out: a connection costs a descriptor, and those are few. So there is a bound in
all, below what the process may open (workers and database need some too), and one for each network: an IPv4 address, or a /64 of IPv6,
which is what one household gets. At either bound the connection that has been silent for longest gives way to the new one, of the network
that has most; only when all of them are being answered is the new one closed. Nobody loses a request by it: silent ones are waiting for
their next request, or have not finished sending their first one.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from dataclasses import dataclass, field

from vasset.domain.network import network_of
from vasset.gateway.client_address import Network

Transport = asyncio.Transport


@dataclass(slots=True)
class _Guests:
    """Of one network. ``silent`` is in the order in which they fell silent."""

    count: int = 0
    silent: OrderedDict[Transport, None] = field(default_factory=OrderedDict)


class Door:
    """Not thread-safe: one event loop. ``trusted`` networks are proxies: the people behind one are not one network."""

    def __init__(self, *, most: int, most_of_one: int, trusted: tuple[Network, ...] = ()) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._trusted = trusted
        self._guests: dict[str, _Guests] = {}
        self._of: dict[Transport, str] = {}

    @property
    def open(self) -> int:
        return len(self._of)

    def enter(self, transport: Transport, peer: str | None) -> bool:
        """Whether it may stay; somebody silent may have been sent away for it."""
        network, is_proxy = self._network_of(peer)
        guests = self._guests.get(network)
        if guests is not None and not is_proxy and guests.count >= self._most_of_one and not self._send_away(network):
            return False
        if len(self._of) >= self._most and not self._make_room():
            return False
        guests = self._guests.setdefault(network, _Guests())
        guests.count += 1
        guests.silent[transport] = None
        self._of[transport] = network
        return True

    def speaks(self, transport: Transport) -> None:
        """A request of it is being answered."""
        if (network := self._of.get(transport)) is not None:
            self._guests[network].silent.pop(transport, None)

    def falls_silent(self, transport: Transport) -> None:
        if (network := self._of.get(transport)) is not None:
            self._guests[network].silent[transport] = None

    def leave(self, transport: Transport) -> None:
        """It is closed. May be called again."""
        network = self._of.pop(transport, None)
        if network is None:
            return
        guests = self._guests[network]
        guests.silent.pop(transport, None)
        guests.count -= 1
        if guests.count == 0:
            del self._guests[network]

    def _make_room(self) -> bool:
        """From the network that has most of those that can spare one."""
        candidates = [network for network, guests in self._guests.items() if guests.silent]
        return bool(candidates) and self._send_away(max(candidates, key=lambda network: self._guests[network].count))

    def _send_away(self, network: str) -> bool:
        silent = self._guests[network].silent
        if not silent:
            return False
        transport = next(iter(silent))
        self.leave(transport)
        transport.abort()
        return True

    def _network_of(self, peer: str | None) -> tuple[str, bool]:
        try:
            address = ipaddress.ip_address((peer or "").partition("%")[0])
        except ValueError:
            return "unknown", True  # a socket of the file system: whoever may open it is a proxy of ours
        address = getattr(address, "ipv4_mapped", None) or address
        return network_of(str(address)), any(address in network for network in self._trusted)
