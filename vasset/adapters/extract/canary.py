"""Before another yt-dlp is believed: load it, read a manifest with it, merge two streams with it. No network, a few seconds."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from vasset.adapters.extract import answers
from vasset.adapters.extract.nursery import NurserySettings
from vasset.adapters.extract.pool import ChildPool, PoolBounds
from vasset.adapters.extract.programs import install_programs
from vasset.domain.errors import ExtractionFailed, PostprocessFailed

CANARY_SECONDS = 60.0
CLIP = ("-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=1", "-pix_fmt", "yuv420p")
TONE = ("-f", "lavfi", "-i", "sine=duration=1")
NOWHERE = "http://127.0.0.1:9"  # the canary's child gets no way out


async def prove(candidate: Path) -> str:
    """The candidate's version. Raises ``ExtractionFailed`` or ``PostprocessFailed`` when it cannot do our work."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="vasset-canary-"))
    try:
        programs = await asyncio.to_thread(install_programs, folder / "bin")
        settings = NurserySettings(programs.folder, programs.deno, ytdlp_path=candidate)
        pool = ChildPool(settings, PoolBounds(page_children=1, file_children=1))
        try:
            return await _prove(pool, candidate, folder, has_ffmpeg=programs.has_ffmpeg)
        finally:
            await pool.close()
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, True)


async def _prove(pool: ChildPool, candidate: Path, folder: Path, *, has_ffmpeg: bool) -> str:
    version = await pool.start()
    job: dict[str, Any] = {"workspace": str(folder), "proxy": NOWHERE, "task_id": "canary"}
    message = await pool.run(job | {"verb": "selftest"}, lane="page", timeout_seconds=CANARY_SECONDS)
    found = answers.result(message, dict)
    if not Path(found["loaded_from"]).is_relative_to(candidate.resolve()):
        raise ExtractionFailed("the candidate yt-dlp was not the one that was loaded; its folder is incomplete")
    extraction = answers.result(
        {"event": "done", "result": found["extraction"]}, lambda each: answers.extraction(each, version)
    )
    names = [stream.file_name for stream in extraction.streams]
    kinds = {stream.kind for stream in extraction.streams}
    if names != ["media.fv.mp4", "media.fa.m4a"] or kinds != {
        "dash"
    }:  # the manifest's own address: the engine reads it too
        raise ExtractionFailed(f"the candidate yt-dlp {version} reads a plain manifest differently; it is not used")
    if has_ffmpeg:
        await asyncio.to_thread(_make_clip, folder)
        merge = job | {"verb": "postprocess", "info": dict(extraction.info)}
        answers.result(await pool.run(merge, lane="file", timeout_seconds=CANARY_SECONDS), answers.processed)
    return version


def _make_clip(folder: Path) -> None:
    for source, name in ((CLIP, "media.fv.mp4"), (TONE, "media.fa.m4a")):
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *source, str(folder / name)]
        try:
            subprocess.run(command, check=True, timeout=CANARY_SECONDS, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise PostprocessFailed("ffmpeg could not make the canary's own clip; check its installation") from error
