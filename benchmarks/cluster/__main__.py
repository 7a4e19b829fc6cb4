"""``python -m benchmarks.cluster [--quick] [--only PART]``: measure the distributed form and write ``benchmarks/results/cluster.json``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable

from benchmarks.ballast import backed_memory
from benchmarks.cluster import api, idle, scaling, submissions, websockets
from benchmarks.cluster.record import Figure, write
from benchmarks.cluster.running import Measured, measured_cluster
from benchmarks.cluster.tasks import watched
from benchmarks.platform.record import machine

PARTS = ("idle", "api", "claims", "burst", "websockets", "workers", "films")
CLIENTS = 1_000
ACCOUNTS = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything; writes nothing")
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part alone; repeat for several")
    options = parser.parse_args()
    parts = tuple(options.only or PARTS)
    where = machine()
    figures: list[Figure] = []

    def measured_part(found: list[Figure]) -> None:
        figures.extend(found)
        for figure in found:
            print(figure.line(), flush=True)
        if not options.quick:  # at once: what is measured stays if a later part fails
            write(found, "python -m benchmarks.cluster", where)

    with backed_memory(4096), measured_cluster(workers=4 if "workers" in parts else 1) as measured:
        if "idle" in parts:
            measured_part(idle.measure(measured, rounds=1 if options.quick else 3))
        asyncio.run(_measure(measured, parts, measured_part, quick=options.quick))
    return 0


async def _measure(
    measured: Measured, parts: tuple[str, ...], done: Callable[[list[Figure]], None], *, quick: bool
) -> None:
    rounds, seconds = (1, 3.0) if quick else (3, 8.0)
    clients = 100 if quick else CLIENTS
    accounts = await measured.accounts(clients if "websockets" in parts else ACCOUNTS)
    some = accounts[:ACCOUNTS]
    if "websockets" in parts:
        done(await websockets.measure(measured, accounts, clients=clients, rounds=rounds, seconds=seconds / 2))
    async with watched(measured) as watching:
        if "workers" in parts:
            tasks = (50,) if quick else scaling.TASKS
            done(await scaling.measure_workers(measured, some, watching, tasks=tasks))
        if "films" in parts:
            done(await scaling.measure_films(measured, some, watching, rounds=rounds))
        if "claims" in parts:
            done(await submissions.measure_claims(measured, some, watching, rounds=rounds, seconds=seconds))
        if "burst" in parts:
            done(await submissions.measure_burst(measured, some, watching, rounds=1 if quick else 2))
        if "api" in parts:
            done(await api.measure(measured, some, watching, rounds=rounds, seconds=seconds))


if __name__ == "__main__":
    sys.exit(main())
