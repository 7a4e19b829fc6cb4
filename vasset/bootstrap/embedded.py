"""``vasset serve``: page, API, WebSocket, workers and janitor in one process, on SQLite and in-process queue, bus and cache.

Compare with ``distributed.py``: other adapters behind the same ports, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from vasset.bootstrap.leaving import CLOSING_SECONDS, end_within
from vasset.bootstrap.memory import import_less, settle
from vasset.config import Settings
from vasset.domain.errors import Unavailable

if TYPE_CHECKING:
    from fastapi import FastAPI

    from vasset.bootstrap.downloader import Downloader


@dataclass(slots=True)
class Embedded:
    app: FastAPI
    downloader: Downloader
    draining: bool = False


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or Ctrl-C; both drain. Answers the exit code."""
    import_less()
    import uvloop

    from vasset.telemetry import faultpoint
    from vasset.telemetry.log import configure_logging

    configure_logging(format=settings.log_format, level=settings.log_level)
    faultpoint.arm(settings.kill_at)
    gc.disable()  # a start makes 130,000 objects and hardly any garbage; ``settle`` deals with it
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    from vasset.bootstrap.http_server import HttpServer
    from vasset.bootstrap.sockets import listen, url_of
    from vasset.gateway.server import server_config

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        async with embedded(settings) as platform:
            server = HttpServer(server_config(platform.app, settings))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            started = asyncio.create_task(server.started_event.wait())
            asked = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, started}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                sys.stdout.write(f"V-Asset is ready on {url_of(listener)}\n")
                sys.stdout.flush()
                settle()
                gc.enable()
                await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
            end_within(settings.drain_seconds + CLOSING_SECONDS)
            platform.draining = True
            await platform.downloader.drain()
            server.stop()
            await serving
            for waiter in (started, asked):
                waiter.cancel()
    return 0


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[Embedded]:
    """The whole product, ready to be served; closed in reverse order."""
    from vasset.adapters.bus.memory import MemoryBus
    from vasset.adapters.cache.memory import MemoryCache
    from vasset.adapters.db.accounts import SqlAccounts
    from vasset.adapters.db.database import open_database
    from vasset.adapters.db.files import SqlFileStore
    from vasset.adapters.db.library import SqlLibrary
    from vasset.adapters.db.outbox import SqlOutbox
    from vasset.adapters.db.retention import SqlRetention
    from vasset.adapters.db.tasks import SqlTaskStore
    from vasset.adapters.queue.memory import MemoryQueue
    from vasset.bootstrap import platform
    from vasset.bootstrap.clock import SystemClock
    from vasset.bootstrap.downloader import Downloader, DownloaderParts
    from vasset.bootstrap.prompt_store import PromptTaskStore
    from vasset.bootstrap.schema import bring_up_to_date
    from vasset.domain.ports import TaskStore
    from vasset.gateway.app import create_app
    from vasset.gateway.services import GatewayServices, ReadinessCheck
    from vasset.usecases.breaker import CircuitBreaker

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        platform.make_folder(settings)
        storage = platform.open_storage(settings, clock)
        stack.enter_context(sole_owner(settings))
        platform.make_room_to_start(settings, storage)
        database = open_database(settings.resolved_database_url)
        stack.push_async_callback(database.close)
        await bring_up_to_date(database, settings)
        store = SqlTaskStore(database, platform.task_policy(settings))
        if database.is_sqlite:
            await store.take_back_all()  # whoever ran them is gone: this process owns the database alone
        bus, queue, cache, breaker = MemoryBus(), MemoryQueue(), MemoryCache(), CircuitBreaker(clock)
        outbox, files = SqlOutbox(database), SqlFileStore(database)
        platform.watch_database(database)
        tools = await stack.enter_async_context(platform.open_media_tools(settings))
        authority = await stack.enter_async_context(
            platform.open_authority(settings, SqlAccounts(database), cache, clock)
        )
        parser = await stack.enter_async_context(
            platform.open_parser(settings, tools.extractor, cache, clock, breaker, tools.canonicalise)
        )
        downloader = Downloader(
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
                clock=clock,
                proxies=platform.open_exits(settings, tools),
                breaker=breaker,
                relieve=platform.disk_relief(settings, files, clock),
            ),
            report=platform.report_unexpected,
            on_ended=platform.end_counter(cache, clock),
        )

        async def workers() -> None:
            if not downloader.works:
                raise Unavailable("the downloader's loops do not run")

        async def downloads() -> str | None:
            obstacle = downloader.pool.obstacle()
            return None if obstacle is None else f"wait: {obstacle.message}"

        library = SqlLibrary(database, platform.quota_policy(settings))
        services = GatewayServices(
            authority=authority,
            parser=parser,
            library=platform.make_library(library),
            tasks=cast("TaskStore", PromptTaskStore(store, bus, downloader.control)),
            bus=bus,
            cache=cache,
            storage=storage,
            clock=clock,
            canonicalise=tools.canonicalise,
            readiness=[
                ReadinessCheck("database", database.ping),
                ReadinessCheck("downloader", workers),
                ReadinessCheck("downloads", downloads, required=False),
            ],
            draining=lambda: running.draining,
        )
        running = Embedded(create_app(services, settings), downloader)
        downloader.start()
        await stack.enter_async_context(
            platform.measuring(settings, downloader, store, outbox, queue, quota_usage=library.quota_usage)
        )
        try:
            yield running
        finally:
            await downloader.drain()


@contextmanager
def sole_owner(settings: Settings) -> Iterator[None]:
    """Hold the data folder: two servers on one SQLite file and one workspace would take each other's tasks back."""
    descriptor = os.open(settings.data_dir / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another vasset serve uses {settings.data_dir}; stop it, or choose another folder with --data-dir"
            ) from None
        yield
    finally:
        os.close(descriptor)
