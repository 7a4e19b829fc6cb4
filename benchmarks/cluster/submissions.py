"""From the request to a worker's claim, and a thousand requests at once."""

from __future__ import annotations

import time

from benchmarks.cluster.http import flat_out, percentile, steady
from benchmarks.cluster.record import Figure
from benchmarks.cluster.running import Account, Measured
from benchmarks.cluster.tasks import Watched, submission, task_id_of

CLAIM_RATE = 20.0
BURST = 1_000
BURST_CONNECTIONS = 32


async def measure_claims(
    measured: Measured, accounts: list[Account], watching: Watched, *, rounds: int, seconds: float
) -> list[Figure]:
    """Both ends by one clock: when the request was due, when the row's commit was heard of."""
    runs = []
    for _ in range(rounds):
        sent: dict[str, float] = {}

        def answered(_number: int, due: float, status: int, body: bytes, sent: dict[str, float] = sent) -> None:
            sent[task_id_of(status, body)] = due

        requests = [
            submission(measured, accounts[number % len(accounts)], "page.mp4")
            for number in range(int(CLAIM_RATE * seconds))
        ]
        await steady(measured.port, requests, rate=CLAIM_RATE, answered=answered)
        await watching.all_ended(list(sent), seconds=60)
        runs.append([1000 * (watching.seen[task_id]["running"] - due) for task_id, due in sent.items()])
    return [
        Figure(f"submit until a worker has claimed, {CLAIM_RATE:.0f}/s: P50", "ms",
               tuple(percentile(run, 0.50) for run in runs), 20.0),
        Figure(f"submit until a worker has claimed, {CLAIM_RATE:.0f}/s: P95", "ms",
               tuple(percentile(run, 0.95) for run in runs), 60.0),
    ]  # fmt: skip


async def measure_burst(measured: Measured, accounts: list[Account], watching: Watched, *, rounds: int) -> list[Figure]:
    accepted, lost, wall = [], 0, []
    for _ in range(rounds):
        requests = [submission(measured, accounts[number % len(accounts)], "page.mp4") for number in range(BURST)]
        started = time.perf_counter()
        answers = await flat_out(measured.port, requests, connections=BURST_CONNECTIONS)
        accepted.append(BURST / (time.perf_counter() - started))
        task_ids = [task_id_of(*answer) for answer in answers]
        await watching.all_ended(task_ids, seconds=170)
        lost += BURST - len(set(task_ids))
        wall.append(time.perf_counter() - started)
    return [
        Figure(f"burst of {BURST} submissions: accepted", "1/s", tuple(accepted), 300.0, at_least=True),
        Figure(f"burst of {BURST} submissions: lost or not completed", "tasks", (float(lost),), 0.0),
        Figure(f"burst of {BURST} submissions of 64 KiB: until all are completed", "s", tuple(wall)),
    ]
