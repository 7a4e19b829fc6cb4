"""``python -m tests.faults.campaign --deployment distributed --seed 7 --tasks 1000 --seconds 300 --output chaos.json``"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.faults.campaign.campaign import DEPLOYMENTS, Result, Wanted, run
from tests.support.server_folder import server_folder


def main() -> int:
    asked = _arguments()
    clean = True
    for seed in asked.seed:
        for deployment in asked.deployment:
            wanted = Wanted(deployment, seed, asked.tasks, asked.seconds, asked.users, asked.at_a_time, asked.engine)
            clean &= _one(wanted, asked.output, asked.keep)
    return 0 if clean else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.campaign", description=__doc__)
    parser.add_argument("--deployment", choices=sorted(DEPLOYMENTS), nargs="+", required=True)
    parser.add_argument(
        "--seed", type=int, nargs="+", required=True, help="the same seed gives the same users and schedule"
    )
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=300.0, help="no task begins after this time")
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--at-a-time", type=int, default=3, help="downloads one user waits for at a time")
    parser.add_argument("--engine", type=Path, help="an engine built with `faultpoints`, for K6 to K9")
    parser.add_argument("--output", type=Path, help="add each run's figures to this JSON file")
    parser.add_argument("--keep", type=Path, help="copy history and logs below this folder")
    return parser.parse_args()


def _one(wanted: Wanted, output: Path | None, kept: Path | None) -> bool:
    print(f"{wanted.deployment}: seed {wanted.seed}", flush=True)
    with server_folder("chaos") as folder:
        try:
            result = asyncio.run(_until_stopped(run(wanted, folder)))
        finally:
            if kept is not None:
                keep(folder, kept / f"{wanted.deployment}-{wanted.seed}")
    print(result.line(), flush=True)
    for violation in result.verdict.violations[:50]:
        print(f"  {violation.promise}: {violation.subject}: {violation.words}", flush=True)
    if output is not None:
        add(output, result)
    return result.verdict.is_clean


async def _until_stopped(running: Coroutine[Any, Any, Result]) -> Result:
    """SIGTERM ends a run as Ctrl-C does: with every server it started."""
    task = asyncio.ensure_future(running)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def keep(folder: Path, target: Path) -> None:
    """What explains a violation: the history and every log."""
    target.mkdir(parents=True, exist_ok=True)
    for path in [folder / "history.jsonl", *(folder / "product").glob("*.log")]:
        if path.exists():
            (target / path.name).write_bytes(path.read_bytes())


def add(path: Path, result: Result) -> None:
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    wanted = {"deployment": result.wanted.deployment, "seed": result.wanted.seed, "users": result.wanted.users}
    runs.append({**wanted, **result.figures})
    path.write_text(json.dumps({"runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
