"""Phase two: the streams lie in the workspace; yt-dlp merges, converts and embeds, without a single request for media."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.extract import INFO_FILE, VIDEO_TARGETS
from vasset.adapters.extract.child.failure import Failure, JobFailed
from vasset.adapters.extract.child.formats import AUDIO_CONTAINERS
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.options import base_options, checked
from vasset.adapters.extract.child.sidecars import fetch_cover, fetch_subtitles
from vasset.adapters.extract.child.streams import BASE_NAME, file_name
from vasset.adapters.extract.child.text import seconds
from vasset.adapters.extract.sniff import MEDIA, sniff

BENCH = "post"  # the folder of one run; wiped at the start of the next
RESULT = "result"
FINAL_EXT = re.compile(r"[a-z0-9]{2,5}\Z")
TAKES_COVER = frozenset({"mp3", "m4a", "opus", "flac", "mp4", "mkv"})
DISGUISED = Failure("postprocess", "The site sent something other than video or audio; it was not opened.")


def postprocess(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """A JSON object with the fields of ``ProcessedMedia``; the file lies directly in the workspace."""
    workspace = Path(job["workspace"])
    info = json.loads((workspace / INFO_FILE).read_text(encoding="ascii"))
    target, audio_only = str(job["info"]["target"]), bool(job["info"]["audio_only"])
    bench = _lay_out(workspace, info)
    os.chdir(bench)  # the ffmpeg gate lets nothing out of the working folder
    try:
        return _finish(workspace, _run(job, settings, emit, info, bench, target, audio_only), info)
    finally:
        os.chdir("/")
        shutil.rmtree(bench, ignore_errors=True)


def _lay_out(workspace: Path, info: dict[str, Any]) -> Path:
    """Link the streams into a fresh folder, so that a run that dies leaves them untouched for the next."""
    bench = workspace / BENCH
    shutil.rmtree(bench, ignore_errors=True)
    bench.mkdir(mode=0o700)
    formats = info.get("requested_formats") or [info]
    for form in formats:
        name = file_name(form, merged=len(formats) > 1)
        source = workspace / name
        if not source.is_file() or source.is_symlink():
            raise JobFailed(Failure("postprocess", "A stream of the video is missing; start the download again."))
        if sniff(str(source)) not in MEDIA:
            raise JobFailed(DISGUISED)
        try:
            os.link(source, bench / name)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, bench / name)
    return bench


def _run(
    job: dict[str, Any],
    settings: dict[str, Any],
    emit: Emit,
    info: dict[str, Any],
    bench: Path,
    target: str,
    audio_only: bool,
) -> dict[str, Any]:
    options = base_options(job, settings) | checked(
        {
            "outtmpl": {"default": f"{BASE_NAME}.%(ext)s"},
            "paths": {"home": str(bench)},
            "ffmpeg_location": settings["programs"],
            "fixup": "force",
            "overwrites": False,
            "postprocessors": _steps(target, audio_only, info),
        }
    )
    if target in VIDEO_TARGETS:
        options |= checked({"merge_output_format": target})
    with GuardedDownloader(options, on_phase=lambda phase: emit({"event": "phase", "phase": phase})) as downloader:
        if not audio_only:
            fetch_subtitles(downloader, info, bench)
        if _result_ext(target, info) in TAKES_COVER:
            fetch_cover(downloader, info, bench)
        downloader.sealed = True
        downloader.process_info(info)
    return info


def _steps(target: str, audio_only: bool, info: dict[str, Any]) -> list[dict[str, Any]]:
    """The order of yt-dlp's own command line: convert, then subtitles, metadata, cover."""
    steps: list[dict[str, Any]] = []
    if audio_only or target in AUDIO_CONTAINERS:
        codec = target if target in AUDIO_CONTAINERS else "best"
        steps.append({"key": "FFmpegExtractAudio", "preferredcodec": codec, "preferredquality": "2"})
    elif target in VIDEO_TARGETS:
        steps.append({"key": "FFmpegVideoRemuxer", "preferedformat": target})
        if info.get("requested_subtitles"):
            steps.append({"key": "FFmpegEmbedSubtitle"})
    steps.append({"key": "FFmpegMetadata", "add_chapters": True, "add_metadata": True, "add_infojson": False})
    if _result_ext(target, info) in TAKES_COVER:
        steps.append({"key": "FFmpegThumbnailsConvertor", "format": "jpg", "when": "before_dl"})
        steps.append({"key": "EmbedThumbnail", "already_have_thumbnail": False})
    return steps


def _result_ext(target: str, info: dict[str, Any]) -> str:
    return str(info.get("ext")) if target == "original" else target


def _finish(workspace: Path, info: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    made = Path(str(info.get("filepath") or ""))
    ext = made.suffix.lstrip(".").lower()
    if made.parent != workspace / BENCH or not made.is_file() or made.is_symlink() or not FINAL_EXT.match(ext):
        raise JobFailed(Failure("postprocess", "Post-processing left no file; start the download again."))
    if made.stat().st_size == 0 or sniff(str(made)) not in MEDIA:
        raise JobFailed(DISGUISED)
    result = workspace / f"{RESULT}.{ext}"
    made.replace(result)
    return {"path": str(result), "ext": ext, "duration_seconds": seconds(given.get("duration"))}
