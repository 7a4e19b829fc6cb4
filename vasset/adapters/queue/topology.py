"""The broker's exchange and queues (REQUIREMENTS C1), declared by code and safe to declare again.

::

    vasset.download.exchange (direct)
      ├─ download.quick, download.archive → vasset.download.queue   (quorum) ── rejected or delivered too often ──┐
      └─ download.dead                    → vasset.download.dlq     (quorum) ◀──────────────────────────────────┘
    vasset.download.retry.{1..30}s  (one queue per delay; messages expire into the exchange as download.quick)

One queue per delay, because a per-message time to live blocks everything behind the longest one. The delays are a convenience: the
row's ``not_before`` decides, and the reaper wakes what the broker lost.
"""

from __future__ import annotations

from typing import Any

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange

EXCHANGE = "vasset.download.exchange"
QUEUE = "vasset.download.queue"
DEAD_LETTER_QUEUE = "vasset.download.dlq"
WORK_KEYS = ("download.quick", "download.archive")
DEAD_KEY = "download.dead"
RETRY_DELAYS_SECONDS = (1, 2, 4, 8, 16, 30)
# A safety net only: deliveries are acknowledged after the claim and retries are counted in SQL.
DELIVERY_LIMIT = 20


def retry_queue(delay_seconds: int) -> str:
    return f"vasset.download.retry.{delay_seconds}s"


def delay_for(seconds: float) -> int | None:
    """The longest declared delay that does not exceed ``seconds`` much; None when the message should go at once."""
    if seconds < RETRY_DELAYS_SECONDS[0] / 2:
        return None
    return next((delay for delay in RETRY_DELAYS_SECONDS if delay >= seconds), RETRY_DELAYS_SECONDS[-1])


async def declare(channel: AbstractChannel) -> AbstractExchange:
    """Raises ``ChannelPreconditionFailed`` when a queue exists with other arguments (another version's): delete it once drained."""
    exchange = await channel.declare_exchange(EXCHANGE, ExchangeType.DIRECT, durable=True)
    dead: dict[str, Any] = {"x-queue-type": "quorum"}
    dead_queue = await channel.declare_queue(DEAD_LETTER_QUEUE, durable=True, arguments=dead)
    await dead_queue.bind(exchange, DEAD_KEY)
    work: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": EXCHANGE,
        "x-dead-letter-routing-key": DEAD_KEY,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    work_queue = await channel.declare_queue(QUEUE, durable=True, arguments=work)
    for key in WORK_KEYS:
        await work_queue.bind(exchange, key)
    for delay in RETRY_DELAYS_SECONDS:
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-message-ttl": delay * 1000,
            "x-dead-letter-exchange": EXCHANGE,
            "x-dead-letter-routing-key": WORK_KEYS[0],
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        await channel.declare_queue(retry_queue(delay), durable=True, arguments=arguments)
    return exchange
