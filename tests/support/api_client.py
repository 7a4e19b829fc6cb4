"""The HTTP API as a user's program sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

PASSWORD = "correct horse 7"
ENDED = frozenset({"completed", "failed", "cancelled"})


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    json: dict[str, Any]

    @property
    def data(self) -> Any:
        assert self.json.get("code") == 0, self.json
        return self.json["data"]


class ApiClient:
    """One signed-in user."""

    def __init__(self, session: aiohttp.ClientSession, token: str | None = None) -> None:
        self._session = session
        self._token = token

    @property
    def headers(self) -> dict[str, str]:
        """What signs a request of another client as this user."""
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        headers = self.headers | dict(options.pop("headers", {}))
        async with self._session.request(method, path, headers=headers, **options) as response:
            body = await response.read()
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            parsed = await response.json() if is_json and body else {}
            return Answer(response.status, dict(response.headers), body, parsed)

    async def register(self, email: str) -> ApiClient:
        body = {"email": email, "password": PASSWORD, "nickname": email.split("@")[0]}
        answer = await self.call("POST", "/api/v1/auth/register", json=body)
        return ApiClient(self._session, answer.data["access_token"])

    async def login(self, email: str) -> ApiClient:
        answer = await self.call("POST", "/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        return ApiClient(self._session, answer.data["access_token"])

    async def submit(self, url: str, *, key: str | None = None, **wishes: str) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        answer = await self.call("POST", "/api/v1/download", json={"url": url, **wishes}, headers=headers)
        assert answer.status == 202, answer.json
        accepted: dict[str, Any] = answer.data
        assert answer.headers["Location"] == f"/api/v1/downloads/{accepted['task_id']}"
        return accepted

    async def task(self, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = (await self.call("GET", f"/api/v1/downloads/{task_id}")).data
        return task

    async def ended(self, task_id: str, *, timeout_seconds: float = 60.0) -> dict[str, Any]:
        """Follow by polling until the task has ended."""
        return await self.reached(task_id, ENDED, timeout_seconds=timeout_seconds)

    async def reached(
        self, task_id: str, words: frozenset[str] | set[str], *, timeout_seconds: float = 60.0
    ) -> dict[str, Any]:
        """Poll until `status` or `phase` is one of `words`."""
        task: dict[str, Any] = {}
        try:
            async with asyncio.timeout(timeout_seconds):
                while not words & {(task := await self.task(task_id))["status"], task["phase"]}:
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{task_id} never became {'/'.join(words)}; last seen: {task}") from None
        return task

    async def downloaded(self, task_id: str, size: int, *, timeout_seconds: float = 60.0) -> None:
        """Poll until a worker says that it has so many bytes."""
        async with asyncio.timeout(timeout_seconds):
            while ((await self.task(task_id))["downloaded_bytes"] or 0) < size:
                await asyncio.sleep(0.02)

    async def completed(self, url: str, **wishes: str) -> tuple[dict[str, Any], bytes]:
        """Submit, wait, fetch: the task and its file's bytes."""
        accepted = await self.submit(url, **wishes)
        task = await self.ended(accepted["task_id"])
        assert task["status"] == "completed", task
        return task, (await self.file(accepted["history_id"])).body

    async def file(self, history_id: int, **headers: str) -> Answer:
        return await self.call("GET", "/api/v1/download/file", params={"history_id": str(history_id)}, headers=headers)


@asynccontextmanager
async def api_client(url: str) -> AsyncIterator[ApiClient]:
    """Nobody yet: register or log in to become somebody."""
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield ApiClient(session)
