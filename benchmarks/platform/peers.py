"""What others need for the same bytes: ``python -m benchmarks.platform.peers aiohttp|yt-dlp FOLDER`` with a JSON list of URLs on stdin."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import yt_dlp

THREADS = 50
CHUNK_BYTES = 256 * 1024


async def by_aiohttp(urls: list[str], folder: Path) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def fetch(number: int, url: str) -> None:
            async with session.get(url) as answer:
                with (folder / f"{number}.mp4").open("wb") as file:
                    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                        file.write(chunk)

        await asyncio.gather(*(fetch(number, url) for number, url in enumerate(urls)))


def by_ytdlp(urls: list[str], folder: Path) -> None:
    def fetch(number: int, url: str) -> None:
        options = {"quiet": True, "noprogress": True, "cachedir": False, "outtmpl": str(folder / f"{number}.%(ext)s")}
        with yt_dlp.YoutubeDL(options) as downloader:
            downloader.download([url])

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(fetch, range(len(urls)), urls))


def main() -> None:
    urls, folder = json.load(sys.stdin), Path(sys.argv[2])
    before, started = time.process_time(), time.perf_counter()
    if sys.argv[1] == "aiohttp":
        asyncio.run(by_aiohttp(urls, folder))
    else:
        by_ytdlp(urls, folder)
    print(json.dumps([time.perf_counter() - started, time.process_time() - before]))


if __name__ == "__main__":
    main()
