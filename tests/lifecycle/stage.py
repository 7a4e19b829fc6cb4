"""The running product for a test that is no coroutine: product and site live in a thread, the user calls over plain HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.api_client import PASSWORD
from tests.support.api_client import Answer as Reply
from tests.support.deployments import Deployment
from tests.support.lifecycle_model import Frame, Site
from tests.support.lying_origin import Answer, Asked, Behaviour, LyingOrigin, held, honest, running_lying_origin

DAILY_LIMIT = 3
WAIT_SECONDS = 40.0
FIRST_BYTES = 20_000


@dataclass
class LiveStage:
    """``body`` is what every site serves."""

    url: str
    body: bytes
    origin: LyingOrigin
    loop: asyncio.AbstractEventLoop
    _gates: dict[str, asyncio.Event] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def new_site(self, site: Site) -> str:
        path = f"/{site}{next(self._numbers)}.mp4"
        if site == "stalls":
            self._gates[path] = asyncio.Event()
            self.origin.routes[path] = held(self.body, self._gates[path], first_bytes=FIRST_BYTES)
        elif site == "succeeds":
            self.origin.routes[path] = honest(self.body)
        elif site == "recovers":
            self.origin.routes[path] = _recovers(self.body)
        return path

    def release(self, path: str) -> None:
        if path in self._gates:
            self.loop.call_soon_threadsafe(self._gates[path].set)

    def repair(self, path: str) -> None:
        self.origin.routes[path] = honest(self.body)

    def sign_up(self) -> SignedIn:
        email = f"user{next(self._numbers)}@example.test"
        body = {"email": email, "password": PASSWORD, "nickname": "Somebody"}
        session = requests.Session()
        session.trust_env = False
        user = SignedIn(self.url, session)
        session.headers["Authorization"] = (
            f"Bearer {user.call('POST', '/auth/register', json=body).data['access_token']}"
        )
        user.watch()
        return user


class SignedIn:
    """One user with one open WebSocket, whose frames are all kept."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self._url = url
        self._session = session
        self._frames: dict[str, list[Frame]] = defaultdict(list)
        self._arrived = threading.Condition()
        self._is_watching = False
        self.calls: deque[str] = deque(maxlen=60)
        """The latest requests and how they were answered, for a failure's words."""

    def call(self, method: str, path: str, *, key: str | None = None, **options: Any) -> Reply:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self._session.request(method, f"{self._url}/api/v1{path}", headers=headers, timeout=30, **options)
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        self.calls.append(f"{method} {path} → {answer.status_code}")
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return Reply(answer.status_code, answer.headers, answer.content, answer.json() if is_json else {})

    def task(self, task_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/downloads/{task_id}").data
        return found

    def listing(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.call("GET", path, params={"per_page": 100}).data["items"]
        return items

    def wait_for(self, task_id: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Poll until it holds."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds(found := self.task(task_id)):
            assert time.monotonic() < deadline, f"still {found}"
            time.sleep(0.02)
        return found

    def watch(self) -> None:
        """Return once the snapshot is there."""
        ticket = self.call("POST", "/ws/ticket").data["ticket"]
        self._reader = threading.Thread(target=self._read, args=(ticket,), daemon=True)
        self._reader.start()
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._is_watching, WAIT_SECONDS), "no snapshot"

    def frames_until(self, task_id: str, seq: int) -> list[Frame]:
        """Every frame of a task, once one with at least this ``seq`` has come."""
        with self._arrived:
            frames = self._frames[task_id]
            came = self._arrived.wait_for(lambda: frames and frames[-1].seq >= seq, WAIT_SECONDS)
            assert came, f"{task_id}: no frame reached seq {seq}; last {frames[-1:]}"
            return list(frames)

    def close(self) -> None:
        self._socket.close()
        self._reader.join(10)
        self._session.close()

    def _read(self, ticket: str) -> None:
        address = self._url.replace("http", "ws", 1) + "/api/v1/ws"
        protocols = [Subprotocol("vasset.v1"), Subprotocol(f"ticket.{ticket}")]
        with connect(address, subprotocols=protocols, proxy=None) as self._socket:
            for text in self._socket:
                message = json.loads(text)
                found = message["tasks"] if message["event"] == "snapshot" else [message["task"]]
                with self._arrived:
                    self._is_watching = True
                    for task in found:
                        self._frames[task["task_id"]].append(Frame(task["seq"], task["phase"], task["percent"]))
                    self._arrived.notify_all()


def _recovers(body: bytes) -> Behaviour:
    """Overloaded at first, then well."""
    asked_before = False
    well = honest(body)

    async def behave(asked: Asked, answer: Answer) -> None:
        nonlocal asked_before
        if asked_before:
            await well(asked, answer)
        else:
            asked_before = True
            await answer.head("503 Service Unavailable", Content_Length=0)

    return behave


@contextmanager
def live_stage(deployment: Deployment, body: bytes) -> Iterator[LiveStage]:
    """Start product and site in a thread; `vasset doctor` at the end."""
    ready, stop = threading.Event(), threading.Event()
    started: list[LiveStage] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        async with running_lying_origin() as origin:
            settings = {
                "egress_allow": origin.address,
                "daily_limit_free": str(DAILY_LIMIT),
                "max_retries": "1",
                "lease_seconds": "60",
                "heartbeat_seconds": "5",
            }
            async with deployment.running(programs=None, **settings) as product:
                stage = LiveStage(product.url, body, origin, asyncio.get_running_loop())
                started.append(stage)
                ready.set()
                await asyncio.to_thread(stop.wait)
                assert await product.stop() == 0, "\n".join(product.log[-30:])
            await deployment.healthy()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(90)
        if started:
            started[0].sign_up().close()  # the first account is an administrator; those of the test are not
            yield started[0]
    finally:
        stop.set()
        thread.join(90)
        if failed:
            raise failed[0]
