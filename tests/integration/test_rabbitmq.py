"""RabbitMQ only wakes: what holds when messages are lost, doubled, forged, delayed, and the broker is cut or killed."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio

from tests.support.cutting_proxy import cutting_proxy
from vasset.adapters.queue import topology
from vasset.adapters.queue.message import MAX_BODY_BYTES, MalformedMessage, task_id_of
from vasset.adapters.queue.rabbitmq import RabbitQueue
from vasset.bootstrap.local_servers import LocalServer, RabbitServer
from vasset.domain.errors import DependencyDown
from vasset.domain.ports import OutboxMessage

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


def message(number: int, **body: object) -> OutboxMessage:
    task_id = str(uuid.UUID(int=number))
    return OutboxMessage(number, "download.quick", task_id, {"task_id": task_id, **body})


@pytest_asyncio.fixture
async def queue(rabbit_server: LocalServer) -> AsyncIterator[RabbitQueue]:
    opened = RabbitQueue(rabbit_server.url)
    await opened.ping()
    connection = await aio_pika.connect(rabbit_server.url)
    async with connection, connection.channel() as channel:
        names = [topology.QUEUE, topology.DEAD_LETTER_QUEUE, *map(topology.retry_queue, topology.RETRY_DELAYS_SECONDS)]
        for name in names:
            await (await channel.get_queue(name)).purge()
    yield opened
    await opened.close()


async def take(queue: RabbitQueue, count: int, *, acknowledge: bool = True) -> list[str]:
    taken: list[str] = []
    async with asyncio.timeout(20), queue.deliveries(prefetch=100) as deliveries:
        async for delivery in deliveries:
            taken.append(delivery.task_id)
            if acknowledge:
                await delivery.acknowledge()
            if len(taken) == count:
                return taken
    raise AssertionError("deliveries ended")


async def test_what_is_confirmed_is_delivered(queue: RabbitQueue) -> None:
    messages = [message(number) for number in range(1, 151)]
    assert sorted(await queue.publish(messages)) == list(range(1, 151))
    assert sorted(await take(queue, 150)) == sorted(sent.task_id for sent in messages)
    assert await queue.depth() == 0


async def test_what_is_not_acknowledged_is_delivered_again(queue: RabbitQueue) -> None:
    await queue.publish([message(1)])
    assert await take(queue, 1, acknowledge=False) == await take(queue, 1)


async def test_prefetch_bounds_what_a_worker_holds(queue: RabbitQueue) -> None:
    await queue.publish([message(number) for number in range(1, 6)])
    async with asyncio.timeout(10), queue.deliveries(prefetch=2) as deliveries:
        first, _ = [await anext(deliveries), await anext(deliveries)]
        third = asyncio.ensure_future(anext(deliveries))
        done, _ = await asyncio.wait({third}, timeout=0.3)
        assert not done
        await first.acknowledge()
        await (await third).acknowledge()


async def test_a_retry_waits_in_the_queue_of_its_delay(queue: RabbitQueue) -> None:
    started = time.monotonic()
    await queue.publish([message(1, not_before=time.time() + 0.9)])
    assert await take(queue, 1) == [message(1).task_id]
    assert 0.9 <= time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("seconds", "delay"), [(0.2, None), (0.5, 1), (1.0, 1), (1.1, 2), (9.0, 16), (30.0, 30), (99.0, 30)]
)
def test_delays_are_the_declared_ones(seconds: float, delay: int | None) -> None:
    assert topology.delay_for(seconds) == delay


FORGED = [b"", b"null", b"[]", b"{}", b'{"task_id":7}', b'{"task_id":"../../x"}', b"\xff\xfe", b"{" * 1_000]


@pytest.mark.parametrize("body", [*FORGED, b" " * (MAX_BODY_BYTES + 1)])
def test_a_malformed_message_is_described_without_its_words(body: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        task_id_of(body)
    assert "../" not in str(caught.value)


async def test_malformed_messages_are_dead_lettered_and_the_rest_goes_on(
    queue: RabbitQueue, rabbit_server: LocalServer
) -> None:
    connection = await aio_pika.connect(rabbit_server.url)
    async with connection, connection.channel() as channel:
        exchange = await channel.get_exchange(topology.EXCHANGE)
        for body in FORGED:
            await exchange.publish(aio_pika.Message(body), "download.quick")
    await queue.publish([message(1)])
    assert await take(queue, 1) == [message(1).task_id]

    async def dead() -> int:
        return await queue.remove_dead(None)

    removed = 0
    async with asyncio.timeout(10):
        while removed < len(FORGED):
            removed += await dead()
            await asyncio.sleep(0.02)
    assert removed == len(FORGED)


async def test_dead_letters_of_chosen_tasks_are_removed_and_others_stay(queue: RabbitQueue) -> None:
    letters = [OutboxMessage(n, "download.dead", message(n).task_id, message(n).body) for n in (1, 2, 3)]
    await queue.publish(letters)
    assert await queue.remove_dead({letters[1].task_id}) == 1
    assert await queue.remove_dead(None) == 2


async def test_a_broker_that_is_away_is_an_error_at_once_and_comes_back(
    rabbit_server: LocalServer, queue: RabbitQueue
) -> None:
    async with cutting_proxy(rabbit_server.port) as proxy:
        behind = RabbitQueue(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        assert await behind.publish([message(1)]) == [1]
        proxy.refuse()
        async with asyncio.timeout(15):
            confirmed: list[int] = []
            with contextlib.suppress(DependencyDown):
                confirmed += await behind.publish([message(2)])
            assert confirmed == []
            assert await behind.depth() is None
        proxy.heal()
        async with asyncio.timeout(20):
            while True:
                try:
                    if await behind.publish([message(3)]) == [3]:
                        break
                except DependencyDown:
                    await asyncio.sleep(0.1)
        await behind.close()
    assert set(await take(queue, 2)) >= {message(1).task_id, message(3).task_id}


async def test_a_consumer_survives_a_cut_link(rabbit_server: LocalServer, queue: RabbitQueue) -> None:
    async with cutting_proxy(rabbit_server.port) as proxy:
        behind = RabbitQueue(f"amqp://guest:guest@127.0.0.1:{proxy.port}/")
        async with asyncio.timeout(30), behind.deliveries(prefetch=10) as deliveries:
            await queue.publish([message(1)])
            await (await anext(deliveries)).acknowledge()
            proxy.cut()
            await queue.publish([message(2)])
            seen = set()
            while message(2).task_id not in seen:  # the first may come again: its acknowledgement was in flight
                delivery = await anext(deliveries)
                await delivery.acknowledge()
                seen.add(delivery.task_id)
        await behind.close()


async def test_wrong_credentials_are_said_as_unreachable_and_do_not_spin(rabbit_server: LocalServer) -> None:
    stranger = RabbitQueue(f"amqp://guest:wrong@127.0.0.1:{rabbit_server.port}/")
    async with asyncio.timeout(20):
        with pytest.raises(DependencyDown):
            await stranger.publish([message(1)])
    await stranger.close()


async def test_a_broker_that_hangs_up_in_the_handshake_is_one_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiormq says ``StopAsyncIteration`` when the end comes between two of its steps; no listener of ours is that punctual."""

    async def hang_up(*_: object, **__: object) -> None:
        raise StopAsyncIteration

    monkeypatch.setattr("vasset.adapters.queue.rabbitmq.RobustConnection.connect", hang_up)
    queue = RabbitQueue("amqp://guest:guest@127.0.0.1:1/")
    with pytest.raises(DependencyDown):
        await queue.publish([message(1)])
    assert await queue.depth() is None


@pytest.mark.campaign
async def test_what_was_confirmed_survives_kill_9_of_the_broker(tmp_path: Path) -> None:
    server = RabbitServer(tmp_path / "rabbitmq")
    server.start()
    try:
        before = RabbitQueue(server.url)
        confirmed = await before.publish([message(number) for number in range(1, 301)])
        await asyncio.to_thread(server.kill)
        await before.close()
        await asyncio.to_thread(server.start)
        after = RabbitQueue(server.url)
        found: set[str] = set()
        async with asyncio.timeout(40):
            found |= set(await take(after, len(confirmed)))
        assert {message(number).task_id for number in confirmed} <= found
        await after.close()
    finally:
        server.stop()


async def test_a_connection_attempt_that_was_given_up_leaves_nothing_behind() -> None:
    """aio-pika's reconnecting task swallows cancellation until its connection is closed: the process would never end."""
    connected = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    before = asyncio.all_tasks()
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        queue = RabbitQueue(f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        asking = asyncio.create_task(queue.ping())
        await asyncio.wait_for(connected.wait(), 10)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await queue.close()
    async with asyncio.timeout(10):
        while left := {task for task in asyncio.all_tasks() - before if not task.done()}:
            for task in left:  # as the end of the process does, once
                task.cancel()
            await asyncio.wait(left)
