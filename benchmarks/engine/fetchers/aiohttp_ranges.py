"""aiohttp: ranges of 8 MiB at most by as many connections as asked for, each written where it belongs."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp

LONGEST_RANGE = 8 << 20


async def fetch(url: str, connections: int, target: str) -> None:
    file = os.open(target, os.O_CREAT | os.O_WRONLY, 0o644)
    limit = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=limit, read_bufsize=1 << 20) as session:
        async with session.head(url) as head:
            size = int(head.headers["Content-Length"])
        length = min(LONGEST_RANGE, size // connections + 1)
        waiting = iter(range(0, size, length))

        async def work() -> None:
            for start in waiting:
                end = min(start + length, size) - 1
                async with session.get(url, headers={"Range": f"bytes={start}-{end}"}) as answer:
                    if answer.status != 206:
                        raise SystemExit(f"status {answer.status}")
                    async for piece in answer.content.iter_chunked(256 * 1024):
                        os.pwrite(file, piece, start)
                        start += len(piece)

        await asyncio.gather(*(work() for _ in range(connections)))
    os.close(file)


if __name__ == "__main__":
    asyncio.run(fetch(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
