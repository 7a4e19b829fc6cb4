"""``python -m benchmarks.platform [--quick] [--only PART]``: measure the platform and write ``benchmarks/results/platform.json``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.ballast import MEMORY, backed_memory
from benchmarks.engine.origin import running_origin
from benchmarks.platform import api, files, many_files, product_figures, record, websockets
from benchmarks.platform.measured_server import measured_server
from benchmarks.platform.product import running_product
from benchmarks.platform.record import Figure


def gateway(folder: Path, quick: bool) -> list[Figure]:
    """The gateway alone: CPU per request, files."""
    rounds = 1 if quick else 5
    with measured_server(folder) as server:
        figures = asyncio.run(api.measure(server, rounds=rounds, requests=400 if quick else 3000))
        return figures + files.measure(server, rounds=rounds)


def sockets(folder: Path, quick: bool) -> list[Figure]:
    """The gateway alone: frames to WebSockets."""
    figures = []
    with measured_server(folder) as server:
        for clients in (50,) if quick else (50, 1000):
            measured = websockets.measure(server, clients=clients, seconds=4.0, rounds=1 if quick else 3)
            figures += asyncio.run(measured)
    return figures


def start(folder: Path, quick: bool) -> list[Figure]:
    return product_figures.starts(folder, rounds=2 if quick else 5)


def downloads(folder: Path, quick: bool) -> list[Figure]:
    """The whole product; origin and data in memory, so that the disk of the moment is not what is measured."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        place = Path(memory)
        with running_origin(_made(place / "origin")) as origin, running_product(_made(place / "data")) as product:
            product.wait_until_warm()
            figures = asyncio.run(product_figures.first_bytes(product))
            return figures + many_files.measure(product, origin, place, rounds=1 if quick else 3)


def load(folder: Path, quick: bool) -> list[Figure]:
    """The API beside downloads, and a burst of them whose database is on the disk: it is about commits."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        place = Path(memory)
        with running_origin(_made(place / "origin")) as origin:
            rate = str(product_figures.RUNNING_RATE)
            with running_product(_made(place / "data"), VASSET_RATE_LIMIT=rate) as product:
                product.wait_until_warm()
                figures = asyncio.run(product_figures.beside_downloads(product, origin, rounds=1 if quick else 3))
            with running_product(folder) as product:
                product.wait_until_warm()
                return figures + asyncio.run(product_figures.burst(product, origin))


PARTS: dict[str, Callable[[Path, bool], list[Figure]]] = {
    "gateway": gateway,
    "sockets": sockets,
    "start": start,
    "downloads": downloads,
    "load": load,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of everything; writes nothing")
    parser.add_argument("--only", choices=PARTS, help="one part; the others keep their figures")
    options = parser.parse_args()
    where = record.machine()
    figures = []
    for name, part in PARTS.items():
        if options.only in (None, name):
            with backed_memory(4096), tempfile.TemporaryDirectory() as folder:
                figures += part(Path(folder), options.quick)
    for figure in figures:
        print(figure.line())
    if not options.quick:
        record.write(figures, "python -m benchmarks.platform", where)
    return 0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
