"""``vasset`` with a watch over its event loop: ``python -m benchmarks.platform.probed LAGS serve …``.

A callback is due every 5 ms; how late it ran is a lag. SIGUSR1 writes the lags since the last one to the file ``LAGS``, one JSON list.
``… probed LAGS idle`` watches a loop that does nothing else, until SIGTERM: what the machine itself adds at that moment.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import uvloop

from vasset import cli
from vasset.bootstrap import embedded
from vasset.config import Settings

PERIOD_SECONDS = 0.005


async def watch(lags: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PERIOD_SECONDS
        await asyncio.sleep(PERIOD_SECONDS)
        lags.append(loop.time() - due)


def start_watching(target: Path) -> asyncio.Task[None]:
    lags: list[float] = []

    def tell() -> None:
        draft = target.with_suffix(".new")
        draft.write_text(json.dumps(lags))
        draft.replace(target)
        lags.clear()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    return asyncio.create_task(watch(lags))


async def idle(target: Path) -> None:
    watching = start_watching(target)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, watching.cancel)
    target.with_suffix(".started").touch()
    await asyncio.wait({watching})


def main() -> None:
    target = Path(sys.argv[1])
    if sys.argv[2] == "idle":
        uvloop.run(idle(target))
        return
    serve = embedded._serve

    async def watched(settings: Settings) -> int:
        watching = start_watching(target)
        try:
            return await serve(settings)
        finally:
            watching.cancel()

    embedded._serve = watched
    cli.main(sys.argv[2:])


if __name__ == "__main__":
    main()
