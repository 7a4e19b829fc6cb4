"""The API while 50 downloads run, one hop between services, and what one authenticated GET costs in all processes."""

from __future__ import annotations

import asyncio
import time

from benchmarks.cluster.http import flat_out, percentile, request, steady
from benchmarks.cluster.record import Figure
from benchmarks.cluster.running import Account, Measured
from benchmarks.cluster.tasks import Watched, submission, task_id_of
from vasset.domain.user import Identity, Role
from vasset.services.asset.client import IDEMPOTENT, AssetClient
from vasset.services.client import open_channel

DOWNLOADS = 50
RATE = 100.0
HOP_RATE = 20.0


async def measure(
    measured: Measured, accounts: list[Account], watching: Watched, *, rounds: int, seconds: float
) -> list[Figure]:
    figures = [await _cpu_of_a_get(measured, accounts[0], rounds=rounds, count=int(seconds * 150))]
    running = await _start_downloads(measured, accounts, watching)
    mixed, hops, errors = [], [], 0.0
    for _ in range(rounds):
        (latencies, failed), calls = await asyncio.gather(
            _mixed(measured, accounts, seconds), _hops(measured, accounts[0], seconds)
        )
        still = sum(1 for task_id in running if not watching.ended(task_id))
        if still < DOWNLOADS:
            raise RuntimeError(f"only {still} of {DOWNLOADS} downloads still ran at the end of the round")
        mixed.append(latencies)
        hops.append(calls)
        errors += failed
    stop = [request(accounts[0].token, "POST", f"/api/v1/downloads/{task_id}/cancel") for task_id in running]
    await flat_out(measured.port, stop, connections=4)
    for share, goal, prd in ((0.50, None, ""), (0.95, 50.0, "< 200 ms"), (0.99, 150.0, "< 500 ms")):
        values = tuple(percentile(round_, share) for round_ in mixed)
        name = f"API, {RATE:.0f} mixed requests/s beside {DOWNLOADS} downloads: P{100 * share:.0f}"
        figures.append(Figure(name, "ms", values, goal, prd=prd))
    name = f"API, {RATE:.0f} mixed requests/s beside {DOWNLOADS} downloads: errors"
    figures.append(Figure(name, "errors", (errors,), 0.0))
    values = tuple(percentile(round_, 0.95) for round_ in hops)
    figures.append(Figure("gRPC call that reads a row, beside all of that: P95", "ms", values, 10.0, prd="< 50 ms"))
    return figures


async def _start_downloads(measured: Measured, accounts: list[Account], watching: Watched) -> list[str]:
    """The origin gives each connection 64 KiB/s, so they all outlive the measurement."""
    requests = [submission(measured, accounts[0], "film.mp4", slow=True) for _ in range(DOWNLOADS)]
    task_ids = [task_id_of(*answer) for answer in await flat_out(measured.port, requests, connections=4)]
    await watching.all_running(task_ids, seconds=60)
    return task_ids


async def _mixed(measured: Measured, accounts: list[Account], seconds: float) -> tuple[list[float], int]:
    """What people do, by weight: looking 16, parsing (from the cache) 2, submitting 1 and cancelling it 1 of 20."""
    latencies: list[float] = []
    errors = 0
    url = measured.origin.url("page.mp4")
    looks = ("/api/v1/quota", "/api/v1/history?page=1&per_page=20", "/api/v1/downloads", "/api/v1/auth/me")
    requests, expected = [], []
    for number in range(int(RATE * seconds)):
        account = accounts[1 + number % (len(accounts) - 1)]
        kind = number % 20
        if kind < 17:
            requests.append(request(account.token, "GET", looks[number % len(looks)]))
        elif kind < 19:
            requests.append(request(account.token, "POST", "/api/v1/parse", {"url": url}))
        else:
            requests.append(submission(measured, account, "page.mp4"))
        expected.append(202 if kind == 19 else 200)

    def answered(number: int, due: float, status: int, _body: bytes) -> None:
        nonlocal errors
        latencies.append(1000 * (time.perf_counter() - due))
        errors += status != expected[number]

    first = request(accounts[0].token, "POST", "/api/v1/parse", {"url": url})
    await flat_out(measured.port, [first], connections=1)
    await steady(measured.port, requests, rate=RATE, answered=answered)
    return latencies, errors


async def _hops(measured: Measured, account: Account, seconds: float) -> list[float]:
    channel = open_channel(measured.setting("ASSET_ADDRESS"), idempotent=IDEMPOTENT)
    client = AssetClient(channel, measured.setting("SERVICE_TOKEN"))
    identity = Identity(account.user_id, Role.FREE, 1)
    taken = []
    await client.quota(identity)
    for _ in range(int(seconds * HOP_RATE)):
        started = time.perf_counter()
        await client.quota(identity)
        taken.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(1 / HOP_RATE)
    await channel.close()
    return taken


async def _cpu_of_a_get(measured: Measured, account: Account, *, rounds: int, count: int) -> Figure:
    requests = [request(account.token, "GET", "/api/v1/quota")] * count
    await flat_out(measured.port, requests[:200], connections=4)
    values = []
    for _ in range(rounds):
        idle = await _idle_cpu_per_second(measured)
        before, started = measured.cpu_seconds(servers=True), time.perf_counter()
        answers = await flat_out(measured.port, requests, connections=4)
        elapsed = time.perf_counter() - started
        used = measured.cpu_seconds(servers=True) - before - idle * elapsed
        if any(status != 200 for status, _ in answers):
            raise RuntimeError("a GET failed")
        values.append(1000 * used / count)
    name = "GET /api/v1/quota: CPU of gateway, asset, PostgreSQL and the rest"
    return Figure(name, "ms/request", tuple(values), 2.1, note="idle CPU of all processes subtracted")


async def _idle_cpu_per_second(measured: Measured) -> float:
    before = measured.cpu_seconds(servers=True)
    await asyncio.sleep(1.0)
    return measured.cpu_seconds(servers=True) - before
