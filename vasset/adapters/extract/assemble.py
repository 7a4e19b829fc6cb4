"""From settings to a running extractor; the one place that knows all its parts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from vasset.adapters.extract.channel import Channel
from vasset.adapters.extract.egress import Egress, GuardProxy
from vasset.adapters.extract.extractor import ChildExtractor, ExtractorBounds
from vasset.adapters.extract.nursery import NurserySettings
from vasset.adapters.extract.pool import ChildPool, PoolBounds
from vasset.adapters.extract.programs import expose_plugins, install_programs


@dataclass(frozen=True, slots=True)
class ExtractorOptions:
    """``channel`` is the folder of the update lane (see ``channel.py``); it need not exist. Not ``lasting``: for one download."""

    children: int = 2
    file_children: int = 2
    live_children: int = 4
    timeout_seconds: float = 60.0
    file_timeout_seconds: float = 1_800.0
    memory_mib: int = 1_024
    recycle_after: int = 200
    max_file_bytes: int = 64 * 2**30
    plugins: Path | None = None
    channel: Path | None = None
    ca_file: Path | None = None
    lasting: bool = True


@asynccontextmanager
async def open_extractor(guard: GuardProxy, options: ExtractorOptions | None = None) -> AsyncIterator[ChildExtractor]:
    """An extractor whose children start with its first job; leaving the block ends them and removes their folder."""
    options = options or ExtractorOptions()
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="vasset-extract-"))
    try:
        programs = await asyncio.to_thread(install_programs, folder / "bin")
        settings = NurserySettings(
            programs.folder,
            programs.deno,
            memory_mib=options.memory_mib,
            max_file_bytes=options.max_file_bytes,
            plugins=expose_plugins(folder, options.plugins) if options.plugins is not None else None,
            ca_file=_bundle(folder, options.ca_file) if options.ca_file is not None else None,
            lasting=options.lasting,
        )
        bounds = PoolBounds(
            options.children, options.file_children, options.live_children, recycle_after=options.recycle_after
        )
        locate = Channel(options.channel).active if options.channel is not None else None
        limits = ExtractorBounds(options.timeout_seconds, options.file_timeout_seconds, options.max_file_bytes)
        extractor = ChildExtractor(
            ChildPool(settings, bounds, locate=locate), Egress(guard), has_ffmpeg=programs.has_ffmpeg, bounds=limits
        )
        try:
            yield extractor
        finally:
            await extractor.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)


def _bundle(folder: Path, ca_file: Path) -> Path:
    """certifi's roots and the operator's in one file."""
    import certifi

    bundle = folder / "roots.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + ca_file.read_bytes())
    return bundle
