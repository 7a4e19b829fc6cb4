"""The gateway in a process of its own, for its CPU to be read from outside: ``python -m benchmarks.platform.server FOLDER``.

Real SQLite, accounts, tokens, files and uvicorn on uvloop, without workers. Says on its first line where it listens and with
which accounts; then obeys one command a line on stdin: ``frames CLIENTS SECONDS`` publishes two frames a second for each account.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import structlog
import uvloop
from starlette.responses import FileResponse

from tests.support.gateway import RunningGateway, running_gateway
from vasset.domain.download import Phase
from vasset.domain.progress import ProgressFrame
from vasset.gateway.tickets import Bearer

FILE_BYTES = 512 * 2**20
FRAMES_PER_SECOND = 2


async def main(folder: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    async with running_gateway(
        folder, requests_per_minute=10**9, parses_per_minute=10**9, daily_limit_free=10**6
    ) as gateway:
        user = await gateway.sign_up()
        task = await gateway.finished(user, b"\0" * FILE_BYTES)
        stored = gateway.storage.root / f"tmp/{task.id}/file.mp4"
        _add_baseline(gateway, stored)
        _say({"base": gateway.base, "token": user.access_token, "task_id": task.id, "history_id": task.history_id})
        while command := (await asyncio.to_thread(sys.stdin.readline)).split():
            if command[0] == "frames":
                await _publish(gateway, int(command[1]), float(command[2]))


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _add_baseline(gateway: RunningGateway, path: Path) -> None:
    """Starlette's own ``FileResponse`` beside ours, below the same middleware."""

    async def baseline(scope: Any, receive: Any, send: Any) -> None:
        await FileResponse(path)(scope, receive, send)

    gateway.app.mount("/baseline", baseline)


async def _accounts(gateway: RunningGateway, count: int) -> list[Bearer]:
    """Accounts with live sessions, so that the watch over revoked sessions costs here what it costs in earnest."""
    made = []
    for _ in range(count):
        token = secrets.token_bytes(32)
        user = await gateway.accounts.create(
            f"{token.hex()[:16]}@example.org", "no password", "client", registration="open", invitation_hash=None
        )
        session = await gateway.accounts.open_session(user.id, token, ttl_seconds=3600, user_agent=None)
        made.append(Bearer(user.id, int(user.role), session))
    return made


async def _publish(gateway: RunningGateway, clients: int, seconds: float) -> None:
    """Tickets for ``clients`` accounts first, then frames whose ``timestamp`` is the moment of publishing."""
    accounts = await _accounts(gateway, clients)
    tickets = gateway.app.state.gateway.tickets
    _say({"tickets": [await tickets.issue("ws", account, ttl_seconds=120) for account in accounts]})
    await asyncio.to_thread(sys.stdin.readline)  # "go": every client is connected
    sent, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        due = int(elapsed * FRAMES_PER_SECOND * clients)
        frames = [_frame(accounts[number % clients].user_id, number) for number in range(sent, due)]
        if frames:
            await gateway.bus.publish(frames)
            sent = due
        await asyncio.sleep(0.001)
    _say({"published": sent})


def _frame(user_id: int, number: int) -> ProgressFrame:
    return ProgressFrame(
        task_id=f"{user_id:036d}", user_id=user_id, seq=1_000_000 + number, phase=Phase.DOWNLOADING, timestamp=time.time(),
        percent=50.0, downloaded_bytes=number, total_bytes=10**9, speed_bytes_per_second=1e6, eta_seconds=10.0,
    )  # fmt: skip


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
