"""50 files of 20 MB from one origin, submit to all complete, beside a bare aiohttp loop and yt-dlp in threads; all interleaved.

MeTube, the product this is compared with, is not on PyPI; yt-dlp in threads is what it does without its queue, its page and a process
for each download. Both peers have imported what they need before their clock starts.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine.origin import Origin
from benchmarks.platform.downloads import client_of
from benchmarks.platform.product import Product, idle_loop
from benchmarks.platform.record import Figure

FILES = 50
FILE_BYTES = 20_000_000
HEAD = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
NAME = "50 files x 20 MB"
PEERS = ("aiohttp loop", "yt-dlp in threads")


@dataclass(frozen=True, slots=True)
class Taken:
    seconds: float
    cpu_seconds: float


def add_files(origin: Origin, name: str, *, count: int, size: int) -> list[str]:
    """``count`` names of one file that begins like an MP4; answers their URLs."""
    source = origin.root / f"{name}.mp4"
    source.write_bytes(HEAD + os.urandom(size - len(HEAD)))
    urls = []
    for number in range(count):
        os.link(source, origin.root / f"{name}-{number}.mp4")
        urls.append(origin.url(f"{name}-{number}.mp4"))
    return urls


def measure(product: Product, origin: Origin, folder: Path, *, rounds: int) -> list[Figure]:
    urls = add_files(origin, "many", count=FILES, size=FILE_BYTES)
    ours: list[Taken] = []
    peers: dict[str, list[Taken]] = {peer: [] for peer in PEERS}
    lags: list[float] = []
    idle_lags: list[float] = []
    ages: list[float] = []
    memory: list[float] = []
    asyncio.run(_download(product, urls[:4], []))  # children exist, statements are known
    with idle_loop(folder) as idle:
        for _ in range(rounds):
            product.loop_lags()
            idle()
            ours.append(asyncio.run(_download(product, urls, ages)))
            lags.append(1000 * percentile(product.loop_lags(), 0.99))
            idle_lags.append(1000 * percentile(idle(), 0.99))
            memory.append(product.tree_mib())
            for peer in PEERS:
                peers[peer].append(_peer(peer, urls, folder))
    figures = [
        Figure(f"{NAME}: submit to all complete", "s", tuple(each.seconds for each in ours), 6.0),
        Figure(f"{NAME}: CPU of all our processes", "CPU-s", tuple(each.cpu_seconds for each in ours), 8.0),
        Figure(f"{NAME}: event loop P99 lag meanwhile", "ms", tuple(lags), 20.0),
        Figure(f"{NAME}: event loop P99 lag of an idle process beside it", "ms", tuple(idle_lags)),
        Figure(f"{NAME}: P99 from snapshot to WebSocket client", "ms", (1000 * percentile(ages, 0.99),), 50.0),
        Figure(f"{NAME}: memory of all our processes afterwards", "MiB", tuple(memory)),
    ]
    for peer in PEERS:
        figures.append(Figure(f"{NAME}: {peer}", "s", tuple(each.seconds for each in peers[peer])))
        figures.append(Figure(f"{NAME}: {peer}: CPU", "CPU-s", tuple(each.cpu_seconds for each in peers[peer])))
        ratios = tuple(mine.seconds / theirs.seconds for mine, theirs in zip(ours, peers[peer], strict=True))
        figures.append(Figure(f"{NAME}: ours / {peer}", "ratio", ratios))
    return figures


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def _download(product: Product, urls: list[str], ages: list[float]) -> Taken:
    async with client_of(product) as client:
        before, started = product.cpu_seconds(), time.perf_counter()
        task_ids = await client.submit_all(urls)
        await client.completed(task_ids)
        ended = max(client.watched.ended[task_id] for task_id in task_ids)
        used = product.cpu_seconds() - before
        ages += client.watched.ages
    return Taken(ended - started, used)


def _peer(peer: str, urls: list[str], folder: Path) -> Taken:
    """Run a peer in a process of its own; it tells its wall and CPU seconds, imports not counted."""
    target = Path(tempfile.mkdtemp(dir=folder))
    verb = "aiohttp" if peer == "aiohttp loop" else "yt-dlp"
    command = [sys.executable, "-m", "benchmarks.platform.peers", verb, str(target)]
    try:
        said = subprocess.run(command, input=json.dumps(urls), capture_output=True, text=True, check=True).stdout
        sizes = sum(path.stat().st_size for path in target.iterdir())
    finally:
        shutil.rmtree(target)
    if sizes != len(urls) * FILE_BYTES:
        raise RuntimeError(f"{peer} left {sizes} bytes")
    return Taken(*json.loads(said))
