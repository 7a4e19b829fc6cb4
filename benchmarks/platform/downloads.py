"""Downloads through the whole product: submitted over the API, watched over the WebSocket, seen complete."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from benchmarks.platform.product import Product

FAILED = frozenset({"failed", "cancelled"})


@dataclass(slots=True)
class Watched:
    """What one WebSocket saw: when each task ended, and how old each frame of moving bytes was when it arrived."""

    ended: dict[str, float] = field(default_factory=dict)
    ages: list[float] = field(default_factory=list)
    downloading: set[str] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, frame: dict[str, object]) -> None:
        task_id, phase = str(frame["task_id"]), frame["phase"]
        if phase in FAILED:
            raise RuntimeError(f"a measured download ended as {phase}: {frame['error']}")
        if phase == "completed":
            self.ended[task_id] = time.perf_counter()
            self.downloading.discard(task_id)
        elif phase == "downloading":
            self.downloading.add(task_id)
        self.changed.set()


class Client:
    def __init__(self, session: aiohttp.ClientSession, product: Product, watched: Watched) -> None:
        self._session = session
        self._product = product
        self.watched = watched

    async def submit(self, url: str) -> str:
        async with self._session.post(f"{self._product.base}/api/v1/download", json={"url": url}) as answer:
            body = await answer.json()
            if answer.status != 202:
                raise RuntimeError(f"a measured download was refused: {body}")
            task_id: str = body["data"]["task_id"]
            return task_id

    async def submit_all(self, urls: Sequence[str]) -> list[str]:
        return list(await asyncio.gather(*(self.submit(url) for url in urls)))

    async def completed(self, task_ids: Sequence[str]) -> None:
        while not self.watched.ended.keys() >= set(task_ids):
            self.watched.changed.clear()
            async with asyncio.timeout(120):
                await self.watched.changed.wait()


@asynccontextmanager
async def client_of(product: Product, *, connections: int = 100) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {product.token}"}
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        async with session.post(f"{product.base}/api/v1/ws/ticket") as answer:
            ticket = (await answer.json())["data"]["ticket"]
        async with session.ws_connect(f"{product.base}/api/v1/ws", protocols=("vasset.v1", f"ticket.{ticket}")) as live:
            await live.receive()
            watched = Watched()
            reading = asyncio.create_task(_read(live, watched))
            try:
                yield Client(session, product, watched)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _read(live: aiohttp.ClientWebSocketResponse, watched: Watched) -> None:
    async for message in live:
        arrived = time.time()
        frame = json.loads(message.data)["task"]
        if frame["phase"] == "downloading":  # its timestamp is the moment of the engine's snapshot
            watched.ages.append(arrived - frame["timestamp"])
        watched.take(frame)
