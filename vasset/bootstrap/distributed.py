"""The five services on PostgreSQL, Redis and RabbitMQ, each as one context manager that yields what its role runs.

Compare with ``embedded.py``: other adapters behind the same ports, nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from vasset.bootstrap import platform
from vasset.bootstrap.clock import SystemClock
from vasset.bootstrap.sidecar import Part
from vasset.config import Settings
from vasset.domain.errors import Unavailable
from vasset.domain.ports import Cache, ProgressBus, TaskQueue, TaskStore

if TYPE_CHECKING:
    import grpc
    from fastapi import FastAPI

    from vasset.adapters.db.database import Database
    from vasset.bootstrap.downloader import Downloader
    from vasset.services.server import TlsFiles


@dataclass(slots=True)
class GrpcRole:
    """``add`` puts the servicer on a server; ``parts`` say whether it can work; ``drain`` ends its work first."""

    add: Callable[[Any], None]
    parts: list[Part]
    downloader: Downloader | None = None
    draining: bool = False


@dataclass(slots=True)
class GatewayRole:
    app: FastAPI
    draining: bool = False


@dataclass(slots=True)
class _Resources:
    """Opens adapters by URL, each at most once, and closes them in reverse order."""

    settings: Settings
    stack: AsyncExitStack
    clock: SystemClock = field(default_factory=SystemClock)

    async def database(self) -> Database:
        from vasset.adapters.db.database import open_database
        from vasset.bootstrap.schema import bring_up_to_date

        database = open_database(self.settings.resolved_database_url, pool_size=self.settings.database_pool)
        self.stack.push_async_callback(database.close)
        platform.watch_database(database)
        await bring_up_to_date(database, self.settings)
        return database

    def cache(self) -> Cache:
        from vasset.adapters.cache.memory import MemoryCache
        from vasset.adapters.cache.redis import RedisCache
        from vasset.adapters.redis_connection import open_redis

        url = self.settings.cache_url.get_secret_value()
        if url == "memory:":
            return MemoryCache()
        cache = RedisCache(open_redis(url))
        self.stack.push_async_callback(cache.close)
        return cache

    async def bus(self) -> ProgressBus:
        from vasset.adapters.bus.memory import MemoryBus
        from vasset.adapters.bus.redis import RedisProgressBus
        from vasset.adapters.redis_connection import open_redis, open_subscriber

        url = self.settings.cache_url.get_secret_value()
        if url == "memory:":
            return MemoryBus()
        bus = RedisProgressBus(open_redis(url), open_subscriber(url), MemoryBus())
        return await self.stack.enter_async_context(bus)

    def queue(self) -> TaskQueue:
        from vasset.adapters.queue.memory import MemoryQueue
        from vasset.adapters.queue.rabbitmq import RabbitQueue

        url = self.settings.queue_url.get_secret_value()
        if url == "memory:":
            return MemoryQueue()
        queue = RabbitQueue(url)
        self.stack.push_async_callback(queue.close)
        return queue

    async def channel(self, address: str, idempotent: list[tuple[str, str]]) -> grpc.aio.Channel:
        from vasset.services.client import open_channel

        channel = open_channel(address, idempotent=idempotent, tls=tls_files(self.settings))
        self.stack.push_async_callback(channel.close)
        return channel


@asynccontextmanager
async def auth(settings: Settings) -> AsyncIterator[GrpcRole]:
    from vasset.adapters.db.accounts import SqlAccounts
    from vasset.services.auth.servicer import AuthServicer
    from vasset.services.proto import auth_pb2, auth_pb2_grpc

    async with AsyncExitStack() as stack:
        resources = _Resources(settings, stack)
        database, cache = await resources.database(), resources.cache()
        authority = await stack.enter_async_context(
            platform.open_authority(settings, SqlAccounts(database), cache, resources.clock)
        )

        def add(server: Any) -> None:
            server.add(
                auth_pb2_grpc.add_AuthServiceServicer_to_server,
                AuthServicer(authority),
                auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
            )

        yield GrpcRole(add, [Part("database", database.ping), *_optional("redis", cache)])


@asynccontextmanager
async def parser(settings: Settings) -> AsyncIterator[GrpcRole]:
    from vasset.services.parser.servicer import ParserServicer
    from vasset.services.proto import parser_pb2, parser_pb2_grpc
    from vasset.usecases.breaker import CircuitBreaker

    async with AsyncExitStack() as stack:
        resources = _Resources(settings, stack)
        cache, breaker = resources.cache(), CircuitBreaker(resources.clock)
        tools = await stack.enter_async_context(platform.open_media_tools(settings))
        service = await stack.enter_async_context(
            platform.open_parser(settings, tools.extractor, cache, resources.clock, breaker, tools.canonicalise)
        )

        def add(server: Any) -> None:
            server.add(
                parser_pb2_grpc.add_ParserServiceServicer_to_server,
                ParserServicer(service),
                parser_pb2.DESCRIPTOR.services_by_name["ParserService"],
            )

        yield GrpcRole(add, _optional("redis", cache))


@asynccontextmanager
async def asset(settings: Settings) -> AsyncIterator[GrpcRole]:
    from vasset.adapters.db.library import SqlLibrary
    from vasset.services.asset.servicer import AssetServicer
    from vasset.services.proto import asset_pb2, asset_pb2_grpc

    async with AsyncExitStack() as stack:
        database = await _Resources(settings, stack).database()
        rows = SqlLibrary(database, platform.quota_policy(settings))
        library = platform.make_library(rows)
        await stack.enter_async_context(platform.sampling_quota(rows.quota_usage))

        def add(server: Any) -> None:
            server.add(
                asset_pb2_grpc.add_AssetServiceServicer_to_server,
                AssetServicer(library),
                asset_pb2.DESCRIPTOR.services_by_name["AssetService"],
            )

        yield GrpcRole(add, [Part("database", database.ping)])


@asynccontextmanager
async def downloader(settings: Settings) -> AsyncIterator[GrpcRole]:
    from vasset.adapters.db.dead_letters import SqlDeadLetters
    from vasset.adapters.db.files import SqlFileStore
    from vasset.adapters.db.outbox import SqlOutbox
    from vasset.adapters.db.retention import SqlRetention
    from vasset.adapters.db.tasks import SqlTaskStore
    from vasset.bootstrap.downloader import Downloader, DownloaderParts
    from vasset.services.downloader.servicer import DownloaderServicer
    from vasset.services.proto import downloader_pb2, downloader_pb2_grpc
    from vasset.usecases.breaker import CircuitBreaker

    async with AsyncExitStack() as stack:
        resources = _Resources(settings, stack)
        storage = platform.open_storage(settings, resources.clock, owner=settings.worker_address)
        database, queue = await resources.database(), resources.queue()
        cache, bus = resources.cache(), await resources.bus()
        files, outbox = SqlFileStore(database), SqlOutbox(database)
        policy = platform.task_policy(settings)
        store, breaker = SqlTaskStore(database, policy), CircuitBreaker(resources.clock)
        tools = await stack.enter_async_context(platform.open_media_tools(settings))
        worker = Downloader(
            settings,
            DownloaderParts(
                store=store,
                outbox=outbox,
                files=files,
                retention=SqlRetention(database, platform.keep_times(settings)),
                queue=queue,
                bus=bus,
                storage=storage,
                extractor=tools.extractor,
                fetcher=tools.fetcher,
                clock=resources.clock,
                proxies=platform.open_exits(settings, tools),
                breaker=breaker,
                relieve=platform.disk_relief(settings, files, resources.clock),
            ),
            report=platform.report_unexpected,
            on_ended=platform.end_counter(cache, resources.clock),
        )
        await stack.enter_async_context(_hints(settings, worker.control.nudge))

        def add(server: Any) -> None:
            server.add(
                downloader_pb2_grpc.add_DownloaderServiceServicer_to_server,
                DownloaderServicer(store, worker.control, storage, SqlDeadLetters(database, policy)),
                downloader_pb2.DESCRIPTOR.services_by_name["DownloaderService"],
            )

        async def loops() -> None:
            if not worker.works:
                raise Unavailable("the downloader's loops do not run")

        async def downloads() -> str | None:
            obstacle = worker.pool.obstacle()
            return None if obstacle is None else f"wait: {obstacle.message}"

        parts = [
            Part("database", database.ping),
            Part("loops", loops),
            Part("downloads", downloads, required=False),
        ]
        running = GrpcRole(add, [*parts, *_optional("rabbitmq", queue), *_optional("redis", cache)], worker)
        worker.start()
        await stack.enter_async_context(platform.measuring(settings, worker, store, outbox, queue))
        try:
            yield running
        finally:
            await worker.drain()


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[GatewayRole]:
    from vasset.adapters.db.accounts import SqlAccounts
    from vasset.adapters.db.outbox import SqlOutbox
    from vasset.adapters.db.tasks import SqlTaskStore
    from vasset.bootstrap.prompt_store import PromptTaskStore
    from vasset.bootstrap.relaying import relaying
    from vasset.gateway.app import create_app
    from vasset.gateway.services import GatewayServices, ReadinessCheck
    from vasset.services.asset import client as asset_client
    from vasset.services.auth import client as auth_client
    from vasset.services.auth.gateway_authority import GatewayAuthority
    from vasset.services.auth.session_cache import SessionCache
    from vasset.services.auth.tokens import TokenSigner
    from vasset.services.downloader.remote_files import WorkerFiles
    from vasset.services.parser import client as parser_client
    from vasset.usecases.breaker import CircuitBreaker

    async with AsyncExitStack() as stack:
        resources = _Resources(settings, stack)
        clock, token = resources.clock, service_token(settings)
        breaker = CircuitBreaker(clock)  # between services: one circuit for each that this gateway calls
        platform.watch_breakers(breaker)
        database, queue = await resources.database(), resources.queue()
        cache, bus = resources.cache(), await resources.bus()
        store = SqlTaskStore(database, platform.task_policy(settings))
        relay = await stack.enter_async_context(relaying(SqlOutbox(database), queue, platform.report_unexpected))
        hints = await stack.enter_async_context(_hint_sender(settings, relay.wake))
        authority = GatewayAuthority(
            await resources.channel(settings.auth_address, auth_client.IDEMPOTENT),
            token,
            TokenSigner(secret_key(settings), clock=clock),
            SessionCache(SqlAccounts(database), clock, max_age_seconds=settings.revocation_seconds),
            clock,
            revocation_seconds=settings.revocation_seconds,
            timeout_seconds=settings.grpc_timeout_seconds,
            breaker=breaker,
        )
        stack.push_async_callback(authority.close)
        files = WorkerFiles(token, tls=tls_files(settings))
        stack.push_async_callback(files.close)
        services = GatewayServices(
            authority=authority,
            parser=parser_client.ParserClient(
                await resources.channel(settings.parser_address, parser_client.IDEMPOTENT),
                token,
                timeout_seconds=settings.parse_timeout_seconds,
                breaker=breaker,
            ),
            library=asset_client.AssetClient(
                await resources.channel(settings.asset_address, asset_client.IDEMPOTENT),
                token,
                timeout_seconds=settings.grpc_timeout_seconds,
                breaker=breaker,
            ),
            tasks=cast("TaskStore", PromptTaskStore(store, bus, hints)),
            bus=bus,
            cache=cache,
            storage=platform.open_storage(settings, clock),
            clock=clock,
            canonicalise=platform.canonicaliser(settings),
            readiness=[
                ReadinessCheck("database", database.ping),
                *(ReadinessCheck(part.name, part.check, required=False) for part in _optional("rabbitmq", queue)),
                *(ReadinessCheck(part.name, part.check, required=False) for part in _optional("redis", cache)),
            ],
            remote_files=files,
            draining=lambda: running.draining,
        )
        running = GatewayRole(create_app(services, settings))
        yield running


def service_token(settings: Settings) -> str:
    """Raises ``Unavailable`` in words: without it anybody who reaches a port is a service."""
    if settings.service_token is None:
        raise Unavailable(
            "VASSET_SERVICE_TOKEN is not set; give every service the same one, made with `openssl rand -hex 32`"
        )
    return settings.service_token.get_secret_value()


def secret_key(settings: Settings) -> bytes:
    """Raises ``Unavailable`` in words: gateways check what the auth service signs, so they share the key."""
    if settings.secret_key is None:
        raise Unavailable(
            "VASSET_SECRET_KEY is not set; give gateway and auth service the same one, made with `openssl rand -hex 32`"
        )
    return settings.secret_key.get_secret_value().encode()


def tls_files(settings: Settings) -> TlsFiles | None:
    """mTLS when all three files are named, plain when none is. Raises ``Unavailable`` for anything between."""
    from vasset.services.server import TlsFiles

    named = [settings.service_tls_certificate, settings.service_tls_key, settings.service_tls_authority]
    present = [path for path in named if path is not None]
    for path in present:
        try:
            path.read_bytes()
        except OSError as error:
            raise Unavailable(f"{path}, named for mTLS, cannot be read: {error.strerror}") from error
    if not present:
        return None
    if len(present) < len(named):
        raise Unavailable("mTLS needs VASSET_SERVICE_TLS_CERTIFICATE, _KEY and _AUTHORITY together; one is missing")
    return TlsFiles(*present)


def _optional(name: str, adapter: Any) -> list[Part]:
    """Losing it degrades; the in-process adapters cannot be lost."""
    return [Part(name, adapter.ping, required=False)] if hasattr(adapter, "ping") else []


@asynccontextmanager
async def _hints(settings: Settings, nudge: Callable[[str], None]) -> AsyncIterator[None]:
    import asyncio

    from vasset.adapters.bus.redis_hints import RedisHintReceiver
    from vasset.adapters.redis_connection import open_subscriber
    from vasset.usecases.end_tasks import end_tasks

    url = settings.cache_url.get_secret_value()
    if url == "memory:":
        yield
        return
    subscriber = open_subscriber(url)
    receiving = asyncio.create_task(RedisHintReceiver(subscriber, nudge).run(), name="hints")
    try:
        yield
    finally:
        await end_tasks([receiving])
        await subscriber.aclose()


@asynccontextmanager
async def _hint_sender(settings: Settings, wake_relay: Callable[[], None]) -> AsyncIterator[Any]:
    from vasset.adapters.bus.redis_hints import RedisHintSender
    from vasset.adapters.redis_connection import open_redis
    from vasset.bootstrap.relaying import RelayOnly

    url = settings.cache_url.get_secret_value()
    if url == "memory:":
        yield RelayOnly(wake_relay)
        return
    sender = RedisHintSender(open_redis(url), wake_relay=wake_relay)
    try:
        yield sender
    finally:
        await sender.close()
