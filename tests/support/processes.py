"""A real ``vasset serve`` in its own process: started, watched, killed, restarted, and examined by ``vasset doctor``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY = "V-Asset is ready on "
START_SECONDS = 60.0
STOP_SECONDS = 60.0
COMMAND_SECONDS = 90.0


def vasset_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vasset.cli", *arguments]


def vasset_environment(**settings: str) -> dict[str, str]:
    """The caller's environment without its own VASSET_ settings, plus the given ones (lower case, without the prefix)."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VASSET_")}
    return inherited | {f"VASSET_{name.upper()}": value for name, value in settings.items()}


@dataclass
class RunningServer:
    """`url` is where it answers; `log` everything it printed so far."""

    process: asyncio.subprocess.Process
    url: str
    log: list[str] = field(default_factory=list)
    _reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """kill -9: nothing is flushed, nobody is told."""
        self.process.send_signal(signal.SIGKILL)
        await self._ended()

    async def stop(self) -> int:
        """SIGTERM; answers the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self._ended()

    async def _ended(self) -> int:
        async with asyncio.timeout(STOP_SECONDS):
            code = await self.process.wait()
        if self._reader is not None:
            await asyncio.wait_for(asyncio.shield(self._reader), 10)
        return code


async def start_server(
    data_dir: Path, *, programs: Path | None = None, before: Sequence[str] = (), **settings: str
) -> RunningServer:
    """Return when the server has said that it is ready. Raises with its output when it ends before that.

    ``programs`` is a folder of programs that come first on its PATH, ``before`` a program that becomes the server.
    """
    environment = vasset_environment(**{"log_format": "json", "bcrypt_cost": "4"} | settings)
    if programs is not None:
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *before,
        *vasset_command("serve", "--port", "0", "--data-dir", str(data_dir)),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    log: list[str] = []
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            log.append(text)
            if text.startswith(READY) and not ready.done():
                ready.set_result(text.removeprefix(READY))
        if not ready.done():
            ready.set_exception(RuntimeError("vasset serve ended before it was ready:\n" + "\n".join(log[-40:])))

    reader = asyncio.create_task(read())
    try:
        async with asyncio.timeout(START_SECONDS):
            url = await ready
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return RunningServer(process, url, log, reader)


@asynccontextmanager
async def serving(
    data_dir: Path, *, programs: Path | None = None, before: Sequence[str] = (), **settings: str
) -> AsyncIterator[RunningServer]:
    """A server for the length of a block; it is stopped however the block ends."""
    server = await start_server(data_dir, programs=programs, before=before, **settings)
    try:
        yield server
    finally:
        if server.process.returncode is None:
            server.process.kill()
            await server.process.wait()


async def run_vasset(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error of one command."""
    process = await asyncio.create_subprocess_exec(
        *vasset_command(*arguments),
        env=vasset_environment(**settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def assert_healthy(data_dir: Path, **settings: str) -> None:
    """Rows, outbox, ledger and disk agree."""
    code, out, err = await run_vasset("doctor", "--data-dir", str(data_dir), **settings)
    assert code == 0, f"doctor found:\n{out}\n{err}"
