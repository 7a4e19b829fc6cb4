"""A whole gateway on a free port of loopback: real SQLite, real accounts, real tokens, real files; only the sites are made up."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import uvicorn

from vasset.adapters.bus.memory import MemoryBus
from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import Database, open_database
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.migrate import migrate
from vasset.adapters.db.policy import TaskPolicy
from vasset.adapters.db.tasks import SqlTaskStore
from vasset.adapters.storage.local import LocalStorage
from vasset.bootstrap.clock import SystemClock
from vasset.config import Settings
from vasset.domain.download import Mode, Submission, Task
from vasset.domain.errors import InvalidUrl, UnsupportedSite
from vasset.domain.history import PublishedFile
from vasset.domain.media import Container, Format, MediaInfo, PlaylistEntry, QualityChoice
from vasset.domain.ports import Clock, ExtractionRequest
from vasset.domain.user import Role
from vasset.gateway.app import create_app
from vasset.gateway.server import server_config
from vasset.gateway.services import GatewayServices, ReadinessCheck
from vasset.services.asset.service import LibraryService
from vasset.services.auth.passwords import PasswordHasher
from vasset.services.auth.service import AuthPolicy, AuthService
from vasset.services.auth.tokens import TokenSigner
from vasset.services.parser.service import ParserService
from vasset.usecases.breaker import CircuitBreaker
from vasset.usecases.track_progress import frame_of

SECRET = b"gateway tests sign with this key"
PASSWORD = "correct horse 7"
Json = dict[str, Any]


class PageReader:
    """The port ``Extractor``, as far as ``/parse`` goes: knows the videos of ``site.test`` and of nobody else."""

    version = "2026.01.01"

    async def describe(self, url: str, *, playlist_page: int = 1, proxy: str | None = None) -> MediaInfo:
        parts = urlsplit(url)
        if parts.hostname != "site.test":
            raise UnsupportedSite()
        if parts.path.startswith("/list"):
            entries = (PlaylistEntry("https://site.test/v/1", "One", 3.0), PlaylistEntry("https://site.test/v/2"))
            return MediaInfo(url, "playlist", "list", "A list", "site.test", entries=entries, entry_count=2)
        return MediaInfo(
            url,
            "single",
            "1",
            "Ein schöner Film 🎬",
            "site.test",
            duration_seconds=3.0,
            thumbnail="https://site.test/t.jpg",
            formats=(Format("18", "mp4", "https", height=360, size_bytes=1000),),
            qualities=(QualityChoice("360p", "360p", 1000),),
        )

    async def extract(self, request: ExtractionRequest) -> Any:
        raise AssertionError("the gateway never extracts")

    async def download_native(self, *_: Any) -> None:
        raise AssertionError("the gateway never downloads")

    async def record(self, *_: Any, **__: Any) -> bool:
        raise AssertionError("the gateway never records")

    def finish_recording(self, workspace: Path) -> None:
        raise AssertionError("the gateway never records")

    async def postprocess(self, *_: Any) -> Any:
        raise AssertionError("the gateway never converts")


def canonical_url(url: str) -> str:
    """The shape of the engine's guard without its address rules, which have their own tests."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or "\\" in url or " " in url:
        raise InvalidUrl()
    return url


@dataclass
class User:
    """A signed-in account of the running gateway."""

    id: int
    email: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@dataclass
class RunningGateway:
    """The server and everything behind it, for tests to look at from both sides."""

    base: str
    http: aiohttp.ClientSession
    services: GatewayServices
    store: SqlTaskStore
    bus: MemoryBus
    cache: MemoryCache
    storage: LocalStorage
    database: Database
    accounts: SqlAccounts
    server: uvicorn.Server
    app: Any
    _names: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    async def call(self, method: str, path: str, user: User | None = None, **options: Any) -> tuple[int, Json]:
        """Status and body of one JSON call."""
        headers = {**(user.headers if user else {}), **options.pop("headers", {})}
        async with self.http.request(method, self.base + path, headers=headers, **options) as answer:
            return answer.status, await answer.json()

    async def sign_up(self) -> User:
        email = f"user{next(self._names)}@example.org"
        body = {"email": email, "password": PASSWORD, "nickname": "someone"}
        status, answer = await self.call("POST", "/api/v1/auth/register", json=body)
        assert status == 200, answer
        data = answer["data"]
        return User(data["user"]["id"], email, data["access_token"], data["refresh_token"])

    async def submitted(self, user: User, url: str = "https://site.test/v/1") -> Task:
        submission = Submission(user.id, url, Mode.QUICK, "best", Container.MP4, title="A film")
        return (await self.store.submit(submission, role=Role.FREE, idempotency_key=None)).task

    async def finished(self, user: User, content: bytes, *, file_name: str = "A film.mp4") -> Task:
        """A completed download of ``user`` whose file holds ``content``, published as the worker does it."""
        task = await self.submitted(user)
        lease = await self.store.claim(task.id, worker="test", lease_seconds=60)
        assert lease is not None
        relative = f"tmp/{task.id}/file.mp4"
        path = self.storage.root / relative
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        published = PublishedFile(relative, file_name, len(content), hashlib.sha256(content).hexdigest(), "sha256")
        done = await self.store.complete(lease, published, duration_seconds=3.0)
        await self.bus.publish([frame_of(done)])
        return done

    async def ws_ticket(self, user: User) -> str:
        _, answer = await self.call("POST", "/api/v1/ws/ticket", user)
        ticket: str = answer["data"]["ticket"]
        return ticket

    def socket(self, ticket: str, **options: Any) -> Any:
        """An aiohttp WebSocket context manager with the ticket as subprotocol."""
        protocols = ("vasset.v1", f"ticket.{ticket}")
        return self.http.ws_connect(self.base + "/api/v1/ws", protocols=protocols, timeout=_ws_timeout(), **options)


def _ws_timeout() -> aiohttp.ClientWSTimeout:
    return aiohttp.ClientWSTimeout(ws_receive=15.0, ws_close=2.0)


@asynccontextmanager
async def running_gateway(
    folder: Path,
    *,
    clock: Clock | None = None,
    cache: Any = None,
    adjust: Callable[[GatewayServices], GatewayServices] = lambda services: services,
    **settings_changed: Any,
) -> AsyncIterator[RunningGateway]:
    clock = clock or SystemClock()
    settings = Settings(data_dir=folder, port=0, bcrypt_cost=4, **settings_changed)
    database = open_database(settings.resolved_database_url)
    await migrate(database)
    hasher = PasswordHasher(cost=4, waiting=200)
    memory, bus = MemoryCache(), MemoryBus()
    policy = TaskPolicy()
    accounts, store = SqlAccounts(database), SqlTaskStore(database, policy)
    storage = LocalStorage(folder, clock)
    auth_policy = AuthPolicy(
        registration=settings.registration,
        revocation_seconds=settings.revocation_seconds,
        login_attempts_per_minute=1_000,
    )
    authority = AuthService(accounts, cache or memory, hasher, TokenSigner(SECRET, clock=clock), clock, auth_policy)
    parser = ParserService(PageReader(), memory, canonical_url, clock, CircuitBreaker(clock))

    async def database_answers() -> None:
        async with database.read():
            pass

    services = adjust(
        GatewayServices(
            authority=authority,
            parser=parser,
            library=LibraryService(SqlLibrary(database, policy.quota)),
            tasks=store,
            bus=bus,
            cache=cache or memory,
            storage=storage,
            clock=clock,
            canonicalise=canonical_url,
            readiness=(ReadinessCheck("database", database_answers),),
        )
    )
    app = create_app(services, settings)
    listener = socket.socket(proto=socket.IPPROTO_TCP)  # named, else asyncio leaves Nagle's 40 ms on
    listener.bind(("127.0.0.1", 0))
    config = server_config(app, settings)
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve([listener]))  # ``serve`` would take over the test runner's signals
    async with asyncio.timeout(20):
        while not server.started:
            if running.done():
                running.result()
            await asyncio.sleep(0)
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), auto_decompress=False) as http:
        yield RunningGateway(base, http, services, store, bus, memory, storage, database, accounts, server, app)
    server.should_exit = True
    await running
    await parser.close()
    hasher.close()
    await database.close()
    listener.close()
