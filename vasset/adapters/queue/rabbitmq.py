"""The task queue on RabbitMQ ≥ 3.10: quorum queues, publisher confirms, ``mandatory``, acknowledgement after the claim.

A message is a wake-up, so everything here may fail: the outbox keeps what was not confirmed, the reaper wakes what was lost.
Measured on 3.10.8: one confirm at a time 500/s, batches of 64 about 3,000/s, hence :data:`BATCH`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from aio_pika import DeliveryMode, Message, RobustConnection
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage, AbstractRobustConnection
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPError

from vasset.adapters.queue import topology
from vasset.adapters.queue.message import MalformedMessage, encode, task_id_of
from vasset.domain.errors import DependencyDown
from vasset.domain.ports import Delivery, OutboxMessage
from vasset.telemetry import faultpoint

log = structlog.get_logger(__name__)

BATCH = 64
PUBLISH_TIMEOUT_SECONDS = 5.0
CONNECT_TIMEOUT_SECONDS = 5.0
HEARTBEAT_SECONDS = 10
RECONNECT_SECONDS = 1.0
FAILURES = (
    AMQPError,
    OSError,
    TimeoutError,
    RuntimeError,  # "connection closed"
    StopAsyncIteration,  # aiormq 6: the link ended between two frames of the handshake
)


class RabbitQueue:
    """``TaskQueue`` on one robust connection: a confirming channel to publish, one channel per consumer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AbstractRobustConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[OutboxMessage]) -> Sequence[int]:
        """Answers the ids the broker confirmed. Raises ``DependencyDown`` when it cannot be reached at all."""
        exchange = await self._ready_exchange()
        confirmed: list[int] = []
        for start in range(0, len(messages), BATCH):
            batch = messages[start : start + BATCH]
            faultpoint.begin("K2")
            results = await asyncio.gather(
                *(self._publish_one(exchange, message) for message in batch), return_exceptions=True
            )
            confirmed += [message.id for message, result in zip(batch, results, strict=True) if result is True]
            failures = [result for result in results if isinstance(result, BaseException)]
            if failures:
                log.warning("publish failed", failed=len(failures), error=type(failures[0]).__name__)
                await self._discard_channel()
                break
        return confirmed

    async def _publish_one(self, exchange: AbstractExchange, outgoing: OutboxMessage) -> bool:
        message = Message(
            encode(outgoing.body),
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=f"{outgoing.task_id}:{outgoing.id}",
            timestamp=datetime.now(UTC),
            type=outgoing.routing_key,
        )
        delay = self._delay_of(outgoing)
        if delay is None:
            await exchange.publish(message, outgoing.routing_key, mandatory=True, timeout=PUBLISH_TIMEOUT_SECONDS)
        else:
            channel = self._channel
            if channel is None:
                raise ConnectionError("channel closed")
            default = channel.default_exchange
            await default.publish(message, topology.retry_queue(delay), mandatory=True, timeout=PUBLISH_TIMEOUT_SECONDS)
        return True

    @staticmethod
    def _delay_of(outgoing: OutboxMessage) -> int | None:
        not_before = outgoing.body.get("not_before")
        if outgoing.routing_key == topology.DEAD_KEY or not isinstance(not_before, int | float):
            return None
        return topology.delay_for(not_before - datetime.now(UTC).timestamp())

    @asynccontextmanager
    async def deliveries(self, *, prefetch: int) -> AsyncIterator[AsyncIterator[Delivery]]:
        """Yields wake-ups for as long as it is open, reconnecting by itself; unacknowledged ones return to the queue."""
        stopped = asyncio.Event()
        stream = self._stream(prefetch, stopped)
        try:
            yield stream
        finally:
            stopped.set()
            await stream.aclose()  # type: ignore[attr-defined]  # an async generator

    async def _stream(self, prefetch: int, stopped: asyncio.Event) -> AsyncIterator[Delivery]:
        while not stopped.is_set():
            channel: AbstractChannel | None = None
            try:
                connection = await self._ready_connection()
                channel = await asyncio.wait_for(connection.channel(publisher_confirms=False), CONNECT_TIMEOUT_SECONDS)
                await channel.set_qos(prefetch_count=prefetch)
                queue = await channel.get_queue(topology.QUEUE)
                async with queue.iterator() as incoming:
                    async for message in incoming:
                        delivery = await self._accept(message)
                        if delivery is not None:
                            yield delivery
            except DependencyDown:
                await asyncio.sleep(RECONNECT_SECONDS)
            except FAILURES as error:
                log.warning("consumer interrupted", error=type(error).__name__)
                await asyncio.sleep(RECONNECT_SECONDS)
            finally:
                if channel is not None:
                    await _close_quietly(channel)

    async def _accept(self, message: AbstractIncomingMessage) -> Delivery | None:
        try:
            task_id = task_id_of(message.body)
        except MalformedMessage as error:
            log.warning("malformed message dead-lettered", problem=str(error))
            await message.reject(requeue=False)
            return None

        async def acknowledge() -> None:
            try:
                await message.ack()
            except FAILURES as error:  # it will be delivered again, which is harmless
                log.info("acknowledgement lost", error=type(error).__name__)

        return Delivery(task_id=task_id, acknowledge=acknowledge)

    async def depth(self) -> int | None:
        """Messages waiting, or None when the broker does not answer."""
        try:
            connection = await self._ready_connection()
            async with connection.channel() as channel:
                queue = await channel.declare_queue(topology.QUEUE, passive=True)
                return queue.declaration_result.message_count
        except (*FAILURES, DependencyDown):
            return None

    async def remove_dead(self, task_ids: set[str] | None) -> int:
        """Take dead letters of these tasks (None: all) out of the broker's queue; answers how many went."""
        connection = await self._ready_connection()
        removed = 0
        async with connection.channel() as channel:
            queue = await channel.get_queue(topology.DEAD_LETTER_QUEUE)
            kept: list[AbstractIncomingMessage] = []
            while (message := await queue.get(no_ack=False, fail=False)) is not None:
                if task_ids is None or _task_id_or_none(message) in task_ids:
                    await message.ack()
                    removed += 1
                else:
                    kept.append(message)
            for message in kept:
                await message.nack(requeue=True)
        return removed

    async def ping(self) -> None:
        """Raise ``DependencyDown`` unless the broker is connected."""
        await self._ready_connection()

    async def close(self) -> None:
        if self._connection is not None:
            await _close_quietly(self._connection)
            self._connection = self._channel = self._exchange = None

    async def _ready_connection(self) -> AbstractRobustConnection:
        connection = self._connection
        if connection is not None and not connection.is_closed and connection.connected.is_set():
            return connection
        async with self._opening:
            return await self._open_connection()

    async def _open_connection(self) -> AbstractRobustConnection:
        connection = self._connection
        if connection is not None:
            if not connection.is_closed and connection.connected.is_set():
                return connection
            await _close_quietly(connection)
            self._connection = self._channel = self._exchange = None
        opened = RobustConnection(make_url(self._url, heartbeat=HEARTBEAT_SECONDS, fail_fast="1"))
        # Ours before it connects: until it is closed its reconnecting task survives every cancellation, and the process with it.
        self._connection = opened
        try:
            await opened.connect(timeout=CONNECT_TIMEOUT_SECONDS)
            async with opened.channel() as channel:
                await topology.declare(channel)
        except FAILURES as error:
            raise DependencyDown(
                "RabbitMQ does not answer; accepted downloads wait in the outbox.", retry_after_seconds=2.0
            ) from error
        return opened

    async def _ready_exchange(self) -> AbstractExchange:
        connection = await self._ready_connection()
        if self._exchange is not None and self._channel is not None and not self._channel.is_closed:
            return self._exchange
        try:
            channel = await asyncio.wait_for(
                connection.channel(publisher_confirms=True, on_return_raises=True), CONNECT_TIMEOUT_SECONDS
            )
            exchange = await channel.get_exchange(topology.EXCHANGE)
        except FAILURES as error:
            raise DependencyDown("RabbitMQ does not answer; accepted downloads wait in the outbox.") from error
        self._channel, self._exchange = channel, exchange
        return exchange

    async def _discard_channel(self) -> None:
        channel, self._channel, self._exchange = self._channel, None, None
        if channel is not None:
            await _close_quietly(channel)


def _task_id_or_none(message: AbstractIncomingMessage) -> str | None:
    try:
        return task_id_of(message.body)
    except MalformedMessage:
        return None


async def _close_quietly(resource: Any) -> None:
    try:
        await asyncio.wait_for(resource.close(), CONNECT_TIMEOUT_SECONDS)
    except FAILURES as error:
        log.debug("closing failed", error=type(error).__name__)
