"""``vasset gateway|auth|parser|downloader|asset``: one service each, until SIGTERM, which drains."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

from vasset.bootstrap.descriptors import for_strangers, raise_limit
from vasset.bootstrap.leaving import CLOSING_SECONDS, end_within
from vasset.bootstrap.memory import import_less, settle
from vasset.config import Settings

PORTS = {"auth": 9001, "parser": 9002, "downloader": 9003, "asset": 9004}
HEALTH_SECONDS = 1.0
NICENESS = {"downloader": 10}
"""Where services share a machine whose processors are short: a tenth of the share of those that people wait for."""


def run_role(name: str, settings: Settings) -> int:
    """Serve one role until SIGTERM or Ctrl-C; answers the exit code. Raises ``Unavailable`` in words when it cannot start."""
    import_less()
    raise_limit()
    import uvloop

    from vasset.bootstrap.measuring import watch_machine
    from vasset.telemetry import faultpoint
    from vasset.telemetry.log import configure_logging

    configure_logging(format=settings.log_format, level=settings.log_level)
    faultpoint.arm(settings.kill_at)
    os.nice(NICENESS.get(name, 0))
    watch_machine(settings)
    work: Coroutine[Any, Any, int] = _gateway(settings) if name == "gateway" else _service(name, settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def _gateway(settings: Settings) -> int:
    from vasset.bootstrap import distributed
    from vasset.bootstrap.http_server import HttpServer
    from vasset.bootstrap.sockets import listen, url_of
    from vasset.gateway.server import server_config

    stopping = _on_signal()
    with contextlib.closing(listen(settings.host, settings.port)) as listener:
        async with distributed.gateway(settings) as role:
            server = HttpServer(
                server_config(role.app, settings, most_connections=for_strangers(settings.max_client_connections))
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            await _first(server.started_event.wait(), serving)
            if not serving.done():
                _say(f"V-Asset gateway is ready on {url_of(listener)}")
                settle()
                await _first(stopping.wait(), serving)
            end_within(settings.leave_seconds + settings.drain_seconds + CLOSING_SECONDS)
            role.draining = True
            await asyncio.sleep(settings.leave_seconds)
            server.stop()
            await serving
    return 0


async def _service(name: str, settings: Settings) -> int:
    from vasset.bootstrap import distributed
    from vasset.bootstrap.sidecar import Sidecar, ask_all
    from vasset.bootstrap.sockets import listen, url_of
    from vasset.services.server import ServiceServer

    builders: dict[str, Callable[[Settings], AbstractAsyncContextManager[distributed.GrpcRole]]] = {
        "auth": distributed.auth,
        "parser": distributed.parser,
        "downloader": distributed.downloader,
        "asset": distributed.asset,
    }
    stopping = _on_signal()
    port = PORTS[name] if settings.service_port is None else settings.service_port
    metrics_port = settings.metrics_port if settings.metrics_port is not None else (port + 100 if port else 0)
    with contextlib.closing(listen(settings.service_host, metrics_port)) as listener:
        async with builders[name](settings) as role:
            server = ServiceServer(distributed.service_token(settings), tls=distributed.tls_files(settings))
            role.add(server)
            bound = await server.start(settings.service_host, port)

            async def report_health() -> None:
                while True:
                    await server.set_ready(not role.draining and await ask_all(role.parts))
                    await asyncio.sleep(HEALTH_SECONDS)

            async with Sidecar(role.parts, lambda: role.draining).serving(listener):
                health = asyncio.create_task(report_health(), name="health")
                _say(
                    f"V-Asset {name} is ready on {settings.service_host}:{bound}, metrics on {url_of(listener)}/metrics"
                )
                settle()
                await stopping.wait()
                end_within(settings.drain_seconds + CLOSING_SECONDS)
                role.draining = True
                health.cancel()
                await server.set_ready(False)
                if role.downloader is not None:
                    await role.downloader.drain()
                await server.stop(grace_seconds=min(5.0, settings.drain_seconds))
    return 0


def _on_signal() -> asyncio.Event:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


async def _first(wait: Coroutine[Any, Any, Any], serving: asyncio.Task[None]) -> None:
    """Wait for either; a server that ends by itself ends the role."""
    waiting = asyncio.ensure_future(wait)
    try:
        await asyncio.wait({waiting, serving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
