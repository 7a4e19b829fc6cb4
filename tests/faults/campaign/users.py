"""Many users at once: they submit, repeat, follow, change their minds, fetch, and log every call."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.faults.campaign.history import History
from tests.faults.campaign.origin import CampaignOrigin, Chosen
from tests.support.api_client import PASSWORD

CALL_SECONDS = 5.0
FOLLOW_SECONDS = 60.0
TERMINAL = frozenset({"completed", "failed", "cancelled"})
UNREACHED = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


@dataclass
class Budget:
    """How many tasks may still be begun, and until when."""

    tasks: int
    ends_at: float
    begun: int = 0

    def take(self) -> bool:
        if self.begun >= self.tasks or time.monotonic() >= self.ends_at:
            return False
        self.begun += 1
        return True


@dataclass
class Said:
    status: int
    data: dict[str, Any]


@dataclass
class User:
    """One account. ``mine`` maps task ids to what was asked for."""

    name: str
    urls: list[str]
    session: aiohttp.ClientSession
    history: History
    origin: CampaignOrigin
    chance: random.Random
    pause_seconds: float = 0.25
    token: str = ""
    refresh_token: str = ""
    mine: dict[str, Chosen] = field(default_factory=dict)
    _keys: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _connections: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _submitted: deque[tuple[str, dict[str, str]]] = field(default_factory=lambda: deque(maxlen=20))

    @property
    def email(self) -> str:
        return f"{self.name}@example.test"

    async def sign_up(self) -> None:
        """Before the first fault."""
        body = {"email": self.email, "password": PASSWORD, "nickname": self.name}
        said = await self._send("POST", "/api/v1/auth/register", json=body)
        assert said is not None
        assert said.status == 201 or said.status == 200, said
        self._sign(said.data)

    async def live(self, budget: Budget, *, at_a_time: int) -> None:
        """Use the product until the budget is spent; then see every download to its end."""
        watching = asyncio.create_task(self._watch()) if self.chance.random() < 0.5 else None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_a_time):
                    group.create_task(self._one_after_the_other(budget))
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _one_after_the_other(self, budget: Budget) -> None:
        while budget.take():
            if (task := await self._begin()) is not None:
                await self.follow(*task)
            if self.chance.random() < 0.3:  # more often than any client: K14 waits six seconds for one
                await self._refresh()

    # --- one download ---

    async def _begin(self) -> tuple[str, int, str] | None:
        key = f"{self.name}-{next(self._keys)}"
        chosen = self.origin.choose(self.chance, key)
        mode = "quick_download" if self.chance.random() < 0.3 else "archive_download"
        body = {"url": chosen.url, "mode": mode, "quality": "best", "format": "original"}
        if chosen.url.split("?")[0].endswith(".mpd"):
            body["format"] = "mp4"
        self.history.note("body", url=chosen.url, digests=list(chosen.digests), mode=mode)
        if self.chance.random() < 0.1:  # an impatient client: the same request several times at once
            told = await asyncio.gather(*(self.submit(key, body) for _ in range(3)))
            accepted = next((one for one in told if one is not None), None)
        else:
            accepted = await self.submit(key, body)
        if accepted is None:
            return None
        if self._submitted and self.chance.random() < 0.05:  # and one that repeats an old request, with its old key
            await self.submit(*self.chance.choice(self._submitted))
        self._submitted.append((key, body))
        self.mine[accepted[0]] = chosen
        return (*accepted, mode)

    async def submit(self, key: str, body: dict[str, str]) -> tuple[str, int] | None:
        """Until it is answered; None after a refusal, or when nobody answered for long."""
        for _ in range(40):
            number = self.history.invoke("submit", self.name, key=key, url=body["url"])
            said = await self._send("POST", "/api/v1/download", json=body, headers={"Idempotency-Key": key})
            if said is not None and said.status == 202:
                task, history_id = said.data["task_id"], said.data["history_id"]
                self.history.ok(number, "submit", task=task, history=history_id)
                return task, history_id
            if said is not None and 400 <= said.status < 500 and said.status not in {409, 429}:
                self.history.fail(number, "submit", code=said.status)
                return None
            if said is not None and said.status in {409, 429}:
                self.history.fail(number, "submit", code=said.status)
            else:
                self.history.info(number, "submit", code=said.status if said else 0)
            await self._pause()
        return None

    async def follow(self, task: str, history_id: int, mode: str) -> None:
        """Poll to the end, with changes of mind on the way."""
        wish = self.chance.random()
        patience = self.chance.uniform(0.0, 2.0)
        ends_at = time.monotonic() + FOLLOW_SECONDS
        begun = time.monotonic()
        changed_mind = retried = False
        while time.monotonic() < ends_at:
            status = await self._read(task)
            if not changed_mind and time.monotonic() - begun >= patience:
                changed_mind = True
                if wish < 0.12:
                    await self.wish("cancel", task)
                elif wish < 0.18:
                    await self.wish("pause", task)
                    await self._pause()
                    await self.wish("resume", task)
            if self.chance.random() < 0.05 and status not in TERMINAL:
                await self._fetch(task, history_id)  # too early on purpose
            if status == "completed":
                await self._fetch(task, history_id)
                return
            if status in TERMINAL:
                if retried or self.chance.random() > 0.3:
                    return
                retried = True
                await self.wish("retry", task)
            if status == "paused":
                await self.wish("resume", task)
            await self._pause()

    async def _read(self, task: str) -> str | None:
        number = self.history.invoke("read", self.name, task=task)
        said = await self._send("GET", f"/api/v1/downloads/{task}")
        if said is None or said.status != 200:
            self.history.info(number, "read", code=said.status if said else 0)
            if said is not None and said.status == 404:
                self.history.note("missing", task=task)
            return None
        self.history.ok(number, "read", status=said.data["status"], seq=said.data["seq"])
        return str(said.data["status"])

    async def wish(self, verb: str, task: str) -> None:
        number = self.history.invoke(verb, self.name, task=task)
        said = await self._send("POST", f"/api/v1/downloads/{task}/{verb}")
        if said is None or said.status >= 500:
            self.history.info(number, verb, code=said.status if said else 0)
        elif said.status == 200:
            self.history.ok(number, verb, status=said.data["status"])
        else:
            self.history.fail(number, verb, code=said.status)

    async def _fetch(self, task: str, history_id: int) -> None:
        for _ in range(5):
            number = self.history.invoke("fetch", self.name, task=task)
            status, body = await self.download(history_id)
            if status == 200 and body is not None:
                self.history.ok(number, "fetch", digest=hashlib.sha256(body).hexdigest(), size=len(body))
                return
            if status in {404, 409, 410}:
                self.history.fail(number, "fetch", code=status)
                return
            self.history.info(number, "fetch", code=status)
            await self._pause()

    async def download(self, history_id: int) -> tuple[int, bytes | None]:
        """Status 0 when nobody answered; None as a body when it was cut."""
        try:
            async with self._call("GET", "/api/v1/download/file", params={"history_id": str(history_id)}) as answer:
                return answer.status, await answer.read()
        except UNREACHED:
            return 0, None

    # --- the account ---

    async def _refresh(self) -> None:
        """A reply that was cut off is asked for again with the same token: the same child is answered."""
        for _ in range(10):
            number = self.history.invoke("refresh", self.name)
            said = await self._send(
                "POST", "/api/v1/auth/refresh", json={"refresh_token": self.refresh_token}, bare=True
            )
            if said is not None and said.status == 200:
                self._sign(said.data)
                self.history.ok(number, "refresh")
                return
            if said is not None and said.status == 401:  # asked again after the grace time: the session is over
                self.history.fail(number, "refresh", code=401)
                await self._sign_in()
                return
            self.history.info(number, "refresh", code=said.status if said else 0)
            await self._pause()

    async def _sign_in(self) -> None:
        for _ in range(60):
            body = {"email": self.email, "password": PASSWORD}
            said = await self._send("POST", "/api/v1/auth/login", json=body, bare=True)
            if said is not None and said.status == 200:
                self._sign(said.data)
                return
            await self._pause()

    def _sign(self, data: dict[str, Any]) -> None:
        self.token, self.refresh_token = data["access_token"], data["refresh_token"]

    # --- watching ---

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(*UNREACHED, KeyError, TypeError):
                await self._listen()
            await self._pause()

    async def _listen(self) -> None:
        async with self._open_socket() as socket:
            connection = f"{self.name}-{next(self._connections)}"
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                said = message.json()
                for frame in said["tasks"] if said["event"] == "snapshot" else [said["task"]]:
                    self.history.note(
                        "frame", connection=connection, task=frame["task_id"], seq=frame["seq"], phase=frame["phase"]
                    )

    def _open_socket(self) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
        @contextlib.asynccontextmanager
        async def opened() -> Any:
            url = self.chance.choice(self.urls)
            said = await self._send("POST", "/api/v1/ws/ticket", json=None, base=url)
            if said is None or said.status != 200:
                raise aiohttp.ClientError("no ticket")
            protocols = ("vasset.v1", f"ticket.{said.data['ticket']}")
            async with self.session.ws_connect(
                url + "/api/v1/ws", protocols=protocols, timeout=aiohttp.ClientWSTimeout(ws_close=1.0), heartbeat=5.0
            ) as socket:
                yield socket

        return opened()

    async def snapshot(self) -> list[dict[str, Any]]:
        """What a new connection is told first. Raises when it is not told anything."""
        async with asyncio.timeout(15), self._open_socket() as socket:
            said = await socket.receive_json()
            tasks: list[dict[str, Any]] = said["tasks"]
            return tasks

    # --- calls ---

    async def _send(self, method: str, path: str, *, bare: bool = False, **options: Any) -> Said | None:
        """The answer, or None when nobody knows whether the call arrived. Signs in again when the session is over."""
        try:
            async with self._call(method, path, bare=bare, **options) as answer:
                status = answer.status
                body = await answer.json() if answer.content_type == "application/json" else {}
        except UNREACHED:
            return None
        if status == 401 and not bare:
            await self._sign_in()
            return Said(503, {})  # the request itself was refused before it did anything; it is repeated
        return Said(status, body.get("data") or {})

    def _call(
        self, method: str, path: str, *, bare: bool = False, base: str | None = None, **options: Any
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = dict(options.pop("headers", {}))
        if not bare and self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        url = (base or self.chance.choice(self.urls)) + path
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        return self.session.request(method, url, headers=headers, timeout=timeout, **options)

    async def ask(self, path: str) -> dict[str, Any]:
        """A read after the faults are over, which must succeed."""
        for _ in range(60):
            said = await self._send("GET", path)
            if said is not None and said.status == 200:
                return said.data
            await self._pause()
        raise AssertionError(f"{path} was not answered after every fault was healed")

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.5, 1.5) * self.pause_seconds)
