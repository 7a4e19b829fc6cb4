"""``python -m benchmarks.platform [--quick]``: measure the gateway and write ``benchmarks/results/platform.json``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.platform import api, files, record, websockets
from benchmarks.platform.measured_server import measured_server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything; writes nothing")
    options = parser.parse_args()
    rounds = 1 if options.quick else 5
    where = record.machine()
    with tempfile.TemporaryDirectory() as folder, measured_server(Path(folder)) as server:
        figures = asyncio.run(api.measure(server, rounds=rounds, requests=400 if options.quick else 3000))
        figures += files.measure(server, rounds=rounds)
        for clients in (50,) if options.quick else (50, 1000):
            figures += asyncio.run(websockets.measure(server, clients=clients, seconds=4.0, rounds=min(rounds, 3)))
    for figure in figures:
        print(figure.line())
    if not options.quick:
        record.write(figures, "python -m benchmarks.platform", where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
