"""One host with very many connections shuts nobody out, itself included, and no request is lost for it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.gateway import RunningGateway, running_gateway
from vasset.gateway.door import Door

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link(asyncio.Transport):
    """As much of a transport as the door touches."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Clients:
    """Raw connections of one test, closed at its end."""

    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, gateway: RunningGateway, said: bytes = b"") -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        self.opened.append(writer)
        writer.write(said)
        return reader, writer


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    found = Clients()
    yield found
    for writer in found.opened:
        writer.close()
    for writer in found.opened:
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answered(connection: Connection) -> bytes:
    async with asyncio.timeout(10):
        head = await connection[0].readuntil(b"\r\n\r\n")
        if not head.strip():  # the end of a 100 Continue
            head += await connection[0].readuntil(b"\r\n\r\n")
        return head + await connection[0].readexactly(
            int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
        )


async def ended(connection: Connection) -> bool:
    async with asyncio.timeout(10):
        try:
            return await connection[0].read() == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTT", HEALTH], ids=["nothing", "half a head", "kept alive"])
async def test_the_longest_silent_connection_of_a_crowd_gives_way(
    clients: Clients, tmp_path: Path, said: bytes
) -> None:
    async with running_gateway(tmp_path, max_connections_per_client=16) as gateway:
        crowd = []
        for _ in range(16):
            crowd.append(await clients.connect(gateway, said))
            if said == HEALTH:
                await answered(crowd[-1])
        for _ in range(3):
            late = await clients.connect(gateway, HEALTH)
            assert (await answered(late)).startswith(b"HTTP/1.1 200")
            late[1].close()
        assert await ended(crowd[0])


async def test_an_open_socket_never_gives_way(clients: Clients, tmp_path: Path) -> None:
    async with running_gateway(tmp_path, max_connections_per_client=4) as gateway:
        user = await gateway.sign_up()
        async with gateway.socket(await gateway.ws_ticket(user)) as live:
            for _ in range(12):
                await answered(await clients.connect(gateway, HEALTH))
            await live.ping()
            assert not live.closed


async def test_when_all_are_being_answered_the_next_is_closed_and_later_ones_are_served(
    clients: Clients, tmp_path: Path
) -> None:
    async with running_gateway(tmp_path, max_connections_per_client=3) as gateway:
        half = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        busy = [await clients.connect(gateway, half) for _ in range(3)]
        for reader, _ in busy:
            assert (await reader.readline()).startswith(b"HTTP/1.1 100")  # its body is being waited for
        assert await ended(await clients.connect(gateway, HEALTH))
        busy[0][1].write(b"{}       ")
        assert (await answered(busy[0])).startswith(b"\r\nHTTP/1.1 4")
        assert (await answered(await clients.connect(gateway, HEALTH))).startswith(b"HTTP/1.1 200")


def test_room_is_made_by_the_network_that_has_most() -> None:
    door = Door(most=10, most_of_one=100)
    crowd = [Link() for _ in range(8)]
    for number, link in enumerate(crowd):
        assert door.enter(link, f"2001:db8::{number:x}"), "a /64 is one network"
    others = [Link(), Link()]
    assert all(door.enter(link, f"192.0.2.{number}") for number, link in enumerate(others, 1))
    assert door.enter(Link(), "198.51.100.7")
    assert [link.aborted for link in crowd] == [True, *[False] * 7]
    assert not any(link.aborted for link in others)
    assert door.open == 10


def test_who_speaks_is_not_sent_away_and_who_left_is_not_counted() -> None:
    door = Door(most=100, most_of_one=2)
    first, second, third = Link(), Link(), Link()
    assert door.enter(first, "192.0.2.1")
    assert door.enter(second, "192.0.2.1")
    door.speaks(first)
    assert door.enter(third, "::ffff:192.0.2.1")
    assert (first.aborted, second.aborted) == (False, True)
    door.speaks(third)
    assert not door.enter(Link(), "192.0.2.1")
    door.falls_silent(third)
    door.leave(first)
    door.leave(first)
    assert door.enter(Link(), "192.0.2.1")
    assert not third.aborted
    assert door.open == 2


@pytest.mark.parametrize("peer", ["10.1.2.3", None])
def test_people_behind_a_proxy_of_ours_are_not_one_network(peer: str | None) -> None:
    from vasset.gateway.client_address import parse_networks

    door = Door(most=100, most_of_one=2, trusted=parse_networks(["10.0.0.0/8"]))
    links = [Link() for _ in range(20)]
    assert all(door.enter(link, peer) for link in links)
    assert not any(link.aborted for link in links)


def test_a_server_opens_as_much_as_it_may_and_keeps_some_for_itself() -> None:
    script = (
        "import resource\nfrom vasset.bootstrap.descriptors import for_strangers, raise_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))\nprint(for_strangers(10_000))\nraise_limit()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE), for_strangers(10_000), for_strangers(100))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["192", "(4096, 4096) 3584 100"]
