"""`TaskQueue`, `ProgressBus` and `Cache`: what both deployments may rely on, over every adapter and every kind of Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aio_pika
import pytest
import pytest_asyncio

from tests.support.redis_topologies import RedisNodes, Sentinels, running_redis_cluster, running_sentinel
from vasset.adapters.bus.memory import MemoryBus
from vasset.adapters.bus.redis import RedisProgressBus
from vasset.adapters.bus.redis_hints import RedisHintReceiver, RedisHintSender
from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.cache.redis import RedisCache
from vasset.adapters.queue import topology
from vasset.adapters.queue.memory import MemoryQueue
from vasset.adapters.queue.rabbitmq import RabbitQueue
from vasset.adapters.redis_connection import open_redis, open_subscriber
from vasset.bootstrap.local_servers import LocalServer
from vasset.domain.download import Phase
from vasset.domain.ports import Cache, OutboxMessage, ProgressBus, TaskQueue
from vasset.domain.progress import ProgressFrame

SERVERS = [pytest.mark.servers, pytest.mark.xdist_group("servers")]
KINDS = ["memory", *(pytest.param(kind, marks=SERVERS) for kind in ("redis", "sentinel", "cluster"))]


PATIENCE_SECONDS = 10.0
"""What is promised here is not how fast: a busy build machine may take longer than a gateway would wait."""


def patient(url: str) -> Any:
    return open_redis(url, timeout_seconds=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    with running_sentinel(tmp_path_factory.mktemp("sentinel")) as running:
        yield running


@pytest.fixture(scope="module")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNodes]:
    with running_redis_cluster(tmp_path_factory.mktemp("redis-cluster")) as running:
        yield running


@pytest.fixture(params=KINDS)
def cache_url(request: pytest.FixtureRequest) -> str:
    """``memory:``, or the URL of a real Redis."""
    match request.param:
        case "redis":
            return str(request.getfixturevalue("redis_url"))
        case "sentinel":
            return str(request.getfixturevalue("sentinels").url)
        case "cluster":
            return str(request.getfixturevalue("redis_cluster").url)
    return "memory:"


@pytest_asyncio.fixture
async def cache(cache_url: str) -> AsyncIterator[Cache]:
    if cache_url == "memory:":
        yield MemoryCache()
        return
    opened = RedisCache(patient(cache_url), prefix=uuid.uuid4().hex)
    await opened.ping()
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def buses(cache_url: str) -> AsyncIterator[tuple[ProgressBus, ProgressBus]]:
    """The worker's and the gateway's end."""
    if cache_url == "memory:":
        bus = MemoryBus()
        yield bus, bus
        return
    ends = [RedisProgressBus(patient(cache_url), open_subscriber(cache_url), MemoryBus()) for _ in range(2)]
    async with ends[0], ends[1]:
        yield ends[0], ends[1]


def frame(task_id: str, seq: int, phase: Phase = Phase.DOWNLOADING) -> ProgressFrame:
    return ProgressFrame(task_id=task_id, user_id=7, seq=seq, phase=phase, timestamp=1.0, percent=float(seq))


# --- cache ---


async def test_bytes_come_back_as_they_went(cache: Cache) -> None:
    assert await cache.get("nothing") is None
    for value in (b"", b"\0\xff", b"x" * 70_000):
        await cache.set("key", value, ttl_seconds=60)
        assert await cache.get("key") == value
    await cache.delete("key")
    assert await cache.get("key") is None


async def test_an_entry_ends_with_its_time(cache: Cache) -> None:
    await cache.set("short", b"1", ttl_seconds=0.05)
    async with asyncio.timeout(10):
        while await cache.get("short") is not None:
            await asyncio.sleep(0.01)
    assert await cache.set_if_absent("short", b"2", ttl_seconds=60)


async def test_the_first_of_many_sets_and_the_others_learn_it(cache: Cache) -> None:
    answers = await asyncio.gather(*(cache.set_if_absent("one", b"%d" % n, ttl_seconds=60) for n in range(20)))
    assert answers.count(True) == 1
    assert await cache.get("one") == b"%d" % answers.index(True)


async def test_a_ticket_is_taken_by_one_of_many(cache: Cache) -> None:
    await cache.set("ticket", b"user 7", ttl_seconds=30)
    taken = await asyncio.gather(*(cache.take("ticket") for _ in range(20)))
    assert [value for value in taken if value is not None] == [b"user 7"]


async def test_parallel_counts_are_exact_and_end_with_the_first_ones_time(cache: Cache) -> None:
    counted = await asyncio.gather(*(cache.increment("n", ttl_seconds=60) for _ in range(20)))
    assert sorted(counted) == list(range(1, 21))
    assert await cache.increment("brief", ttl_seconds=0.05) == 1
    async with asyncio.timeout(10):
        while await cache.increment("brief", ttl_seconds=0.05) != 1:
            await asyncio.sleep(0.01)


# --- bus ---


async def test_frames_arrive_in_order_and_the_ending_is_never_dropped(buses: tuple[ProgressBus, ProgressBus]) -> None:
    worker, gateway = buses
    mine, other = str(uuid.uuid4()), str(uuid.uuid4())
    async with asyncio.timeout(20), gateway.subscribe([mine]) as frames:
        await worker.publish([frame(mine, 1)])
        received = [await anext(frames)]
        await worker.publish([frame(other, 1), frame(mine, 2), frame(mine, 3), frame(other, 2)])
        await worker.publish([frame(mine, 4, Phase.COMPLETED)])
        while not received[-1].is_terminal:
            received.append(await anext(frames))
    seqs = [got.seq for got in received]
    assert {got.task_id for got in received} == {mine}
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == 4


async def test_who_comes_late_is_told_the_latest_of_each_task(buses: tuple[ProgressBus, ProgressBus]) -> None:
    worker, gateway = buses
    tasks = [str(uuid.uuid4()) for _ in range(8)]  # in a cluster they lie on different nodes
    await worker.publish([frame(task, seq) for task in tasks for seq in (1, 2)])
    latest = await gateway.latest([*tasks, "unknown"])
    assert {task: found.seq for task, found in latest.items()} == dict.fromkeys(tasks, 2)
    assert await gateway.latest([]) == {}
    await worker.publish([])


# --- hints: Redis only, embedded calls the worker directly ---


@pytest.mark.parametrize("cache_url", KINDS[1:], indirect=True)
async def test_a_hint_reaches_every_worker(cache_url: str) -> None:
    heard: list[asyncio.Queue[str]] = [asyncio.Queue(), asyncio.Queue()]
    subscribers = [open_subscriber(cache_url) for _ in heard]
    receiving = [
        asyncio.create_task(RedisHintReceiver(subscriber, queue.put_nowait).run())
        for subscriber, queue in zip(subscribers, heard, strict=True)
    ]
    client = open_redis(cache_url)
    sender = RedisHintSender(client, wake_relay=lambda: None)
    async with asyncio.timeout(20):
        while any(queue.empty() for queue in heard):
            sender.nudge("a task")
            await asyncio.sleep(0.02)
    assert [queue.get_nowait() for queue in heard] == ["a task", "a task"]
    for task in receiving:
        task.cancel()
    await asyncio.gather(*receiving, return_exceptions=True)
    await sender.close()
    await client.aclose()
    for subscriber in subscribers:
        await subscriber.aclose()


# --- failover ---


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_a_failover_costs_latency_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The master dies by kill -9; Sentinel makes the replica master; nothing is configured again."""
    with running_sentinel(tmp_path_factory.mktemp("failover")) as redis:
        cache = RedisCache(open_redis(redis.url))
        worker, gateway = (
            RedisProgressBus(open_redis(redis.url), open_subscriber(redis.url), MemoryBus()) for _ in range(2)
        )
        async with worker, gateway, asyncio.timeout(60), gateway.subscribe(["before"]):
            await gateway.connected.wait()
            await cache.set("key", b"1", ttl_seconds=600)
            await asyncio.to_thread(redis.master.kill)
            assert await cache.get("key") in {None, b"1"}  # a miss, not an error
            await worker.publish([frame("before", 1)])
            while await cache.get("after") != b"2":
                await cache.set("after", b"2", ttl_seconds=600)
                await asyncio.sleep(0.05)
            async with gateway.subscribe(["after"]) as frames:
                waiting, seq = asyncio.ensure_future(anext(frames)), 0
                while not waiting.done():
                    seq += 1
                    await worker.publish([frame("after", seq)])
                    await asyncio.wait({waiting}, timeout=0.05)
                assert (await waiting).task_id == "after"
        await cache.close()


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_a_cluster_whose_master_dies_goes_on_with_its_replica(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running_redis_cluster(tmp_path_factory.mktemp("loss"), replicas=1) as redis:
        cache = RedisCache(open_redis(redis.url))
        worker, gateway = (
            RedisProgressBus(open_redis(redis.url), open_subscriber(redis.url), MemoryBus()) for _ in range(2)
        )
        async with worker, gateway, asyncio.timeout(60), gateway.subscribe(["before"]):
            await gateway.connected.wait()
            await asyncio.to_thread(redis.nodes[0].kill)
            tasks = [str(uuid.uuid4()) for _ in range(12)]
            assert await cache.get("anything") is None  # a miss, never an error
            async with gateway.subscribe(tasks) as frames:
                waiting, seq = asyncio.ensure_future(anext(frames)), 0
                while not waiting.done():  # the subscription moves to a node that lives
                    seq += 1
                    await worker.publish([frame(task, seq) for task in tasks])
                    await asyncio.wait({waiting}, timeout=0.05)
                assert (await waiting).task_id in tasks
            while set(await gateway.latest(tasks)) != set(tasks):  # those on the lost node come back with its replica
                seq += 1
                await worker.publish([frame(task, seq) for task in tasks])
                await asyncio.sleep(0.05)
            while await cache.get("after") != b"1":
                await cache.set("after", b"1", ttl_seconds=60)
                await asyncio.sleep(0.05)
        await cache.close()


# --- queue ---


@pytest_asyncio.fixture(params=["memory", pytest.param("rabbitmq", marks=SERVERS)])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[TaskQueue]:
    if request.param == "memory":
        yield MemoryQueue()
        return
    server: LocalServer = request.getfixturevalue("rabbit_server")
    opened = RabbitQueue(server.url)
    await opened.ping()
    connection: Any = await aio_pika.connect(server.url)
    async with connection, connection.channel() as channel:
        await (await channel.get_queue(topology.QUEUE)).purge()
    yield opened
    await opened.close()


def messages(count: int, key: str = "download.quick") -> list[OutboxMessage]:
    ids = [str(uuid.uuid4()) for _ in range(count)]
    return [OutboxMessage(number, key, task_id, {"task_id": task_id}) for number, task_id in enumerate(ids, 1)]


async def test_what_is_published_is_confirmed_and_delivered(queue: TaskQueue) -> None:
    sent = [*messages(70), *messages(2, "download.archive")]
    assert len(await queue.publish(sent)) == 72
    assert await queue.publish([]) == []
    taken: set[str] = set()
    async with asyncio.timeout(20), queue.deliveries(prefetch=100) as deliveries:
        while len(taken) < 72:
            delivery = await anext(deliveries)
            await delivery.acknowledge()
            taken.add(delivery.task_id)
    assert taken == {message.task_id for message in sent}


async def test_no_more_than_the_prefetch_is_out_and_the_rest_comes_again(queue: TaskQueue) -> None:
    sent = messages(3)
    await queue.publish(sent)
    async with asyncio.timeout(20), queue.deliveries(prefetch=2) as deliveries:
        held = [await anext(deliveries), await anext(deliveries)]
        third = asyncio.ensure_future(anext(deliveries))
        assert not (await asyncio.wait({third}, timeout=0.2))[0]
        await held[0].acknowledge()
        assert (await third).task_id not in {delivery.task_id for delivery in held}
    again: set[str] = set()
    async with asyncio.timeout(20), queue.deliveries(prefetch=10) as deliveries:
        while len(again) < 2:
            delivery = await anext(deliveries)
            await delivery.acknowledge()
            again.add(delivery.task_id)
    assert again == {message.task_id for message in sent} - {held[0].task_id}


async def test_dead_letters_wake_nobody(queue: TaskQueue) -> None:
    dead = messages(1, "download.dead")
    assert await queue.publish(dead) == [1]
    assert await queue.depth() == 0
    if isinstance(queue, RabbitQueue):
        assert await queue.remove_dead({dead[0].task_id}) == 1
