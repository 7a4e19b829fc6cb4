"""The port ``Parser``, in the process and over gRPC: a page is read once for everybody who asks, and remembered no longer than it is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.support.clock import FakeClock
from vasset.adapters.cache.memory import MemoryCache
from vasset.domain.errors import (
    BreakerOpen,
    DependencyDown,
    ExtractionFailed,
    InvalidInput,
    InvalidUrl,
    Unavailable,
    UnsupportedSite,
)
from vasset.domain.media import Format, MediaInfo, PlaylistEntry, QualityChoice
from vasset.domain.ports import Parser
from vasset.domain.user import Identity, Role
from vasset.services.client import open_channel
from vasset.services.parser.client import IDEMPOTENT, ParserClient
from vasset.services.parser.service import ParserService
from vasset.services.parser.servicer import ParserServicer
from vasset.services.proto import parser_pb2, parser_pb2_grpc
from vasset.services.server import ServiceServer
from vasset.usecases.breaker import CircuitBreaker

ME = Identity(1, Role.FREE, 1)
TOKEN = "t" * 32
URL = "https://videos.example/watch?v=1"


def info(**changes: object) -> MediaInfo:
    known: dict[str, object] = {
        "url": URL, "kind": "single", "id": "1", "title": "T", "site": "videos", "duration_seconds": 1.5,
        "formats": (Format("18", "mp4", "https", height=360, size_bytes=2**40),),
        "qualities": (QualityChoice("360p", "360p", None),), "extractor_version": "1",
    }  # fmt: skip
    return MediaInfo(**{**known, **changes})  # type: ignore[arg-type]  # a test may say what it likes


@dataclass
class Reader:
    answer: MediaInfo | Exception = field(default_factory=info)
    version: str = "1"
    reads: list[tuple[str, int]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def describe(self, url: str, *, playlist_page: int = 1, proxy: str | None = None) -> MediaInfo:
        self.reads.append((url, playlist_page))
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def canonicalise(url: str) -> str:
    if not url.lower().startswith("http"):
        raise InvalidUrl()
    return url.strip().replace("HTTPS", "https")


@dataclass
class World:
    """``parser`` is what is tested; ``service`` is it, or stands behind it."""

    clock: FakeClock
    cache: MemoryCache
    reader: Reader
    service: ParserService
    parser: Parser


@pytest.fixture(params=["here", "over grpc"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    clock = FakeClock()
    cache, reader = MemoryCache(clock=clock), Reader()
    service = ParserService(reader, cache, canonicalise, clock, CircuitBreaker(clock))  # type: ignore[arg-type]  # describes only
    if request.param == "here":
        yield World(clock, cache, reader, service, service)
        return
    server = ServiceServer(TOKEN)
    server.add(
        parser_pb2_grpc.add_ParserServiceServicer_to_server,
        ParserServicer(service),
        parser_pb2.DESCRIPTOR.services_by_name["ParserService"],
    )
    port = await server.start("127.0.0.1", 0)
    channel = open_channel(f"127.0.0.1:{port}", idempotent=[*IDEMPOTENT])
    try:
        yield World(clock, cache, reader, service, ParserClient(channel, TOKEN))
    finally:
        await channel.close()
        await server.stop(0)


async def test_the_second_question_is_answered_from_memory_in_full(world: World) -> None:
    first = await world.parser.parse(ME, URL)
    second = await world.parser.parse(Identity(2, Role.FREE, 2), "HTTPS://videos.example/watch?v=1 ")
    assert len(world.reader.reads) == 1
    assert (second.title, list(second.formats), list(second.qualities)) == (
        first.title, list(first.formats), list(first.qualities),
    )  # fmt: skip


async def test_a_thousand_parallel_questions_read_once(world: World) -> None:
    world.reader.gate = asyncio.Event()
    questions = [asyncio.create_task(world.parser.parse(ME, URL)) for _ in range(1_000)]
    while not world.reader.reads:
        await asyncio.sleep(0)
    questions[0].cancel()  # the one that started the reading
    world.reader.gate.set()
    answers = await asyncio.gather(*questions, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.title for answer in answers[1:] if isinstance(answer, MediaInfo)} == {"T"}
    assert len(world.reader.reads) == 1


async def test_memory_ends_after_its_time_or_with_a_new_extractor(world: World) -> None:
    await world.parser.parse(ME, URL)
    world.clock.advance(3_599)
    await world.parser.parse(ME, URL)
    assert len(world.reader.reads) == 1
    world.clock.advance(1)
    await world.parser.parse(ME, URL)
    world.reader.version = "2"
    await world.parser.parse(ME, URL)
    assert len(world.reader.reads) == 3


async def test_pages_of_a_playlist_are_remembered_apart(world: World) -> None:
    for page in (1, 2, 1, 2):
        await world.parser.parse(ME, URL, playlist_page=page)
    assert world.reader.reads == [(URL, 1), (URL, 2)]
    for page in (0, -1, 10_001):
        with pytest.raises(InvalidInput):
            await world.parser.parse(ME, URL, playlist_page=page)


async def test_an_answer_dies_before_its_signed_addresses(world: World) -> None:
    ends = int(world.clock.now().timestamp()) + 600
    entry = PlaylistEntry("https://videos.example/2", thumbnail=f"https://cdn.example/b.jpg?x-expires={ends}")
    world.reader.answer = info(thumbnail=f"https://cdn.example/a.jpg?expire={ends + 900}", entries=(entry,))
    await world.parser.parse(ME, URL)
    world.clock.advance(539)
    await world.parser.parse(ME, URL)
    assert len(world.reader.reads) == 1
    world.clock.advance(2)
    await world.parser.parse(ME, URL)
    assert len(world.reader.reads) == 2


@pytest.mark.parametrize(
    "picture", ["http://[::1/x", "https://x.example/?" + "a=1&" * 300, "https://x.example\u2100.com/"]
)
async def test_an_odd_picture_does_not_hide_the_film(world: World, picture: str) -> None:
    world.reader.answer = info(thumbnail=picture)
    assert (await world.parser.parse(ME, URL)).title == "T"


async def test_refused_addresses_reach_no_site(world: World) -> None:
    with pytest.raises(InvalidUrl):
        await world.parser.parse(ME, "file:///etc/passwd")
    assert world.reader.reads == []


async def test_failures_are_not_remembered(world: World) -> None:
    world.reader.answer = UnsupportedSite()
    for _ in range(2):
        with pytest.raises(UnsupportedSite):
            await world.parser.parse(ME, URL)
    world.reader.answer = info()
    assert (await world.parser.parse(ME, URL)).title == "T"


async def test_dead_links_do_not_open_the_breaker_but_a_failing_site_does(world: World) -> None:
    world.reader.answer = ExtractionFailed("removed", kind="removed")
    for _ in range(30):
        with pytest.raises(ExtractionFailed):
            await world.parser.parse(ME, URL)
    world.reader.answer = ExtractionFailed("429", kind="rate_limited", retryable=True)
    for _ in range(21):
        with pytest.raises(ExtractionFailed):
            await world.parser.parse(ME, URL)
    with pytest.raises(BreakerOpen):
        await world.parser.parse(ME, URL)
    world.reader.answer = info()
    assert (await world.parser.parse(ME, "https://other.example/1")).title == "T"


async def test_without_a_cache_pages_are_still_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down(*arguments: object, **named: object) -> None:
        raise DependencyDown()

    monkeypatch.setattr(world.cache, "get", down)
    monkeypatch.setattr(world.cache, "set", down)
    for _ in range(2):
        assert (await world.parser.parse(ME, URL)).title == "T"
    assert len(world.reader.reads) == 2


async def test_what_another_version_remembered_is_read_again(world: World) -> None:
    await world.parser.parse(ME, URL)
    (key,) = world.cache._bulk.entries
    await world.cache.set(key, b'{"unknown": 1}', ttl_seconds=60)
    assert (await world.parser.parse(ME, URL)).title == "T"


async def test_closing_stops_what_is_being_read(world: World) -> None:
    world.reader.gate = asyncio.Event()
    question = asyncio.create_task(world.parser.parse(ME, URL))
    while not world.reader.reads:
        await asyncio.sleep(0)
    await world.service.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(question, 5)
