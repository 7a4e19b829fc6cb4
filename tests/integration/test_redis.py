"""Redis may only ever cost latency: what holds while it is there, slow, wiped, cut and gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tests.support.cutting_proxy import cutting_proxy
from vasset.adapters.bus import subscription
from vasset.adapters.bus.codec import decode, encode
from vasset.adapters.bus.memory import MemoryBus
from vasset.adapters.bus.redis import CHANNEL, LATEST, RedisProgressBus
from vasset.adapters.bus.redis_hints import NEW_WORK, RedisHintReceiver, RedisHintSender
from vasset.adapters.cache.redis import RedisCache
from vasset.adapters.redis_connection import open_redis, open_subscriber
from vasset.bootstrap.local_servers import LocalServer
from vasset.domain.download import Phase
from vasset.domain.errors import DependencyDown
from vasset.domain.progress import ProgressFrame
from vasset.usecases.end_tasks import end_tasks

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

TASK = "6f8a5b1e-0000-4000-8000-000000000001"


def frame(seq: int, phase: Phase = Phase.DOWNLOADING, task_id: str = TASK) -> ProgressFrame:
    return ProgressFrame(task_id=task_id, user_id=7, seq=seq, phase=phase, timestamp=1.0, percent=float(seq))


async def eventually(question: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not await question():
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    opened = RedisCache(open_redis(redis_url))
    yield opened
    await opened.close()


async def test_every_key_gets_a_time_to_live(cache: RedisCache, redis_url: str) -> None:
    await cache.set("a", b"1", ttl_seconds=60)
    assert await cache.set_if_absent("b", b"1", ttl_seconds=60)
    assert await cache.increment("c", ttl_seconds=60) == 1
    assert await cache.increment("c", ttl_seconds=60) == 2
    bus = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
    async with bus:
        await bus.publish([frame(1)])
    async with Redis.from_url(redis_url) as raw:
        keys = [key async for key in raw.scan_iter()]
        assert len(keys) == 4
        for key in keys:
            assert await raw.pttl(key) > 0, key


async def test_a_ticket_is_taken_by_one_of_many(cache: RedisCache) -> None:
    await cache.set("ticket", b"user 7", ttl_seconds=30)
    taken = await asyncio.gather(*(cache.take("ticket") for _ in range(50)))
    assert [value for value in taken if value is not None] == [b"user 7"]


async def test_a_dead_redis_is_a_miss_for_reads_and_an_error_for_decisions(redis_server: LocalServer) -> None:
    async with cutting_proxy(redis_server.port) as proxy:
        cache = RedisCache(open_redis(f"redis://127.0.0.1:{proxy.port}/0"))
        await cache.set("dead", b"1", ttl_seconds=60)
        proxy.refuse()
        assert await cache.get("dead") is None
        await cache.set("dead", b"2", ttl_seconds=60)
        await cache.delete("dead")
        for decision in (cache.take("dead"), cache.increment("n", ttl_seconds=1), cache.ping()):
            with pytest.raises(DependencyDown):
                await decision
        proxy.heal()

        async def back() -> bool:
            return await cache.get("dead") == b"1"

        await eventually(back)
        await cache.close()


async def test_a_black_holed_redis_costs_one_timeout_and_nobody_another(redis_server: LocalServer) -> None:
    """However long it lasts: whether it answers again is found out in the background."""
    async with cutting_proxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        cache = RedisCache(open_redis(url))
        bus = RedisProgressBus(open_redis(url), open_subscriber(url), MemoryBus())
        loop = asyncio.get_running_loop()

        async def one_request() -> float:
            started = loop.time()
            await cache.get("nothing")
            await bus.publish([frame(1)])
            await bus.latest([TASK])
            with contextlib.suppress(DependencyDown):
                await cache.increment("n", ttl_seconds=1)
            return loop.time() - started

        async with bus:
            assert await one_request() < 0.9
            proxy.black_hole()
            assert await one_request() > 1.0  # the first one pays
            until = loop.time() + 5.0
            while loop.time() < until:
                assert await one_request() < 0.9  # no timeout is as short
                await asyncio.sleep(0.1)
            proxy.heal()

            async def back() -> bool:
                with contextlib.suppress(DependencyDown):
                    return await cache.increment("back", ttl_seconds=9) > 0
                return False

            await eventually(back)
            await cache.close()


async def test_a_late_subscriber_learns_the_latest_frame(redis_url: str) -> None:
    async with RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus()) as worker:
        await worker.publish([frame(1), frame(2)])
    async with RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus()) as gateway:
        assert (await gateway.latest([TASK, "unknown"]))[TASK].seq == 2


async def test_frames_cross_processes_in_order(redis_url: str) -> None:
    worker = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
    gateway = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
    async with worker, gateway, asyncio.timeout(10), gateway.subscribe([TASK]) as frames:
        received = []
        for seq in range(1, 4):
            await worker.publish([frame(seq), frame(seq, task_id="other")])
            received.append((await anext(frames)).seq)
        await worker.publish([frame(4, Phase.COMPLETED)])
        assert (await anext(frames)).is_terminal
    assert received == [1, 2, 3]


async def test_a_subscription_that_is_dead_without_saying_so_is_opened_again(
    redis_server: LocalServer, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "SPELL_SECONDS", 0.5)
    async with cutting_proxy(redis_server.port) as proxy:
        behind = open_subscriber(f"redis://127.0.0.1:{proxy.port}/0")
        worker = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
        gateway = RedisProgressBus(open_redis(redis_url), behind, MemoryBus())
        async with worker, gateway, asyncio.timeout(20), gateway.subscribe([TASK]) as frames:
            for _ in range(250):  # five spells in which nothing happens: a link that answers stays
                await asyncio.sleep(0.01)
                assert gateway.connected.is_set()
            proxy.black_hole()
            while gateway.connected.is_set():
                await asyncio.sleep(0.01)
            proxy.heal()
            await gateway.connected.wait()
            await worker.publish([frame(1)])
            assert (await anext(frames)).seq == 1


async def test_ends_of_spells_lose_and_double_no_message(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They fall between and into messages. A machine that stands still for two spells looks like a dead link: then once more."""
    monkeypatch.setattr(subscription, "SPELL_SECONDS", 0.01)
    sent = [b"%d" % number for number in range(3_000)]
    for _ in range(10):
        received: list[bytes] = []

        async def take(data: bytes, received: list[bytes] = received) -> None:
            received.append(data)

        async with Redis.from_url(redis_url) as publisher, open_subscriber(redis_url).pubsub() as pubsub:
            await pubsub.subscribe("busy")
            reading = asyncio.create_task(subscription.read_messages(pubsub, take))
            for start in range(0, len(sent), 10):
                for data in sent[start : start + 10]:
                    await publisher.publish("busy", data)
                await asyncio.sleep(0.001)
            async with asyncio.timeout(30):
                while len(received) < len(sent) and not reading.done():
                    await asyncio.sleep(0.01)
            if not reading.done():
                await end_tasks([reading])
                break
            assert isinstance(reading.exception(), TimeoutError)
    else:
        pytest.skip("this machine is too busy for spells of 10 ms")
    assert received == sent


async def test_who_only_publishes_reads_nothing(redis_url: str) -> None:
    worker = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
    async with worker, Redis.from_url(redis_url) as raw:
        await worker.publish([frame(1)])
        assert await raw.pubsub_numpat() == 0
        async with worker.subscribe() as _, worker.subscribe([TASK]) as _:
            assert await raw.pubsub_numpat() == 1
        async with asyncio.timeout(10):
            while await raw.pubsub_numpat() != 0:
                await asyncio.sleep(0.01)


async def test_the_subscription_comes_back_after_a_cut(redis_server: LocalServer, redis_url: str) -> None:
    async with cutting_proxy(redis_server.port) as proxy:
        through = redis_url.replace(str(redis_server.port), str(proxy.port))
        gateway = RedisProgressBus(open_redis(through), open_subscriber(through), MemoryBus())
        worker = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
        async with worker, gateway, asyncio.timeout(20), gateway.subscribe([TASK]) as frames:
            await gateway.connected.wait()
            proxy.cut()
            waiting = asyncio.ensure_future(anext(frames))
            seq = 0
            while not waiting.done():
                seq += 1
                await worker.publish([frame(seq)])
                await asyncio.wait({waiting}, timeout=0.05)
            assert (await waiting).seq <= seq


async def test_publishing_into_a_dead_redis_never_raises_and_reaches_its_own_process(redis_server: LocalServer) -> None:
    async with cutting_proxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with RedisProgressBus(open_redis(url), open_subscriber(url), MemoryBus()) as bus:
            proxy.refuse()
            async with asyncio.timeout(20), bus.subscribe() as frames:
                await bus.publish([frame(1)])
                assert (await anext(frames)).seq == 1
            assert (await bus.latest([TASK]))[TASK].seq == 1


async def test_forged_messages_on_the_channel_are_ignored(redis_url: str) -> None:
    gateway = RedisProgressBus(open_redis(redis_url), open_subscriber(redis_url), MemoryBus())
    async with gateway, Redis.from_url(redis_url) as raw, asyncio.timeout(10), gateway.subscribe() as frames:
        for forged in (b"", b"[]", b"null", b'{"seq":"x"}', b"\xff", b'{"task_id":1,"phase":"downloading"}'):
            await raw.publish(CHANNEL + TASK, forged)
            await raw.set(LATEST + TASK, forged, ex=60)
            assert await gateway.latest([TASK]) == {}
        await raw.publish(CHANNEL + TASK, encode(frame(9)))
        assert (await anext(frames)).seq == 9


async def test_a_hint_reaches_every_worker(redis_url: str) -> None:
    nudged: asyncio.Queue[str] = asyncio.Queue()
    subscriber = open_subscriber(redis_url)
    receiving = asyncio.create_task(RedisHintReceiver(subscriber, nudged.put_nowait).run())
    client = open_redis(redis_url)
    sender = RedisHintSender(client, wake_relay=lambda: None)
    async with asyncio.timeout(10):
        while nudged.empty():  # until the subscription stands
            sender.nudge(TASK)
            await asyncio.sleep(0.01)
        assert await nudged.get() == TASK
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await sender.close()
    await client.aclose()
    await subscriber.aclose()


async def test_new_work_is_told_at_once_and_a_burst_of_it_in_few_words(redis_url: str) -> None:
    heard: list[str] = []
    relays = []
    subscriber, client = open_subscriber(redis_url), open_redis(redis_url)
    receiving = asyncio.create_task(RedisHintReceiver(subscriber, heard.append).run())
    sender = RedisHintSender(client, wake_relay=lambda: relays.append(1))

    async def is_heard() -> bool:
        sender.wake()
        return bool(heard)

    await eventually(is_heard)  # the subscription stands
    await sender.close()
    await asyncio.sleep(0.1)
    heard.clear()
    relays.clear()
    for _ in range(10):
        for _ in range(50):
            sender.wake()
        await asyncio.sleep(0)
    await sender.close()
    await asyncio.sleep(0.2)
    assert 1 <= len(heard) <= 12, heard
    assert set(heard) == {NEW_WORK}
    assert len(relays) == 500
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await client.aclose()
    await subscriber.aclose()


def test_a_frame_survives_the_wire() -> None:
    assert decode(encode(frame(3, Phase.FAILED))) == frame(3, Phase.FAILED)


@pytest.mark.parametrize(
    "url", ["memcached://x", "redis+sentinel://host:1", "redis+cluster://host", "redis+sentinel://h/x"]
)
def test_a_wrong_url_is_refused_at_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        open_redis(url)
