"""Ask a child what yt-dlp can really use here (``vasset doctor``). No network."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vasset.adapters.extract import answers
from vasset.adapters.extract.channel import Channel
from vasset.adapters.extract.nursery import NurserySettings
from vasset.adapters.extract.pool import ChildPool, PoolBounds
from vasset.adapters.extract.programs import install_programs

EXAMINATION_SECONDS = 60.0
NOWHERE = "http://127.0.0.1:9"  # the child gets no way out


@dataclass(frozen=True, slots=True)
class Runtime:
    """``version`` is None when yt-dlp cannot use it; ``problem`` says why."""

    name: str
    version: str | None
    problem: str | None = None


async def examine_runtimes(channel: Path | None = None) -> Sequence[Runtime]:
    """Of the yt-dlp in use, ``channel``'s where it has one. Raises ``ExtractionFailed`` when yt-dlp itself cannot be loaded."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="vasset-runtimes-"))
    try:
        programs = await asyncio.to_thread(install_programs, folder / "bin")
        locate = Channel(channel).active if channel is not None else None
        pool = ChildPool(NurserySettings(programs.folder, programs.deno), PoolBounds(page_children=1), locate=locate)
        try:
            job = {"verb": "runtimes", "workspace": str(folder), "proxy": NOWHERE, "url": ""}
            message = await pool.run(job, lane="page", timeout_seconds=EXAMINATION_SECONDS)
        finally:
            await pool.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)
    found = answers.result(message, dict)
    return [Runtime(name, version, found["problems"].get(name)) for name, version in found["runtimes"].items()]
