"""Phase two: the streams lie in the workspace; ffmpeg makes the file of them, and it is proved before anybody calls it one."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from vasset.adapters.extract.child.attempts import Made, NotMade, make
from vasset.adapters.extract.child.containers import Selection, select, sound_container, video_container
from vasset.adapters.extract.child.cover import prepared
from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.extract import INFO_FILE, VIDEO_TARGETS
from vasset.adapters.extract.child.failure import Failure, JobFailed
from vasset.adapters.extract.child.formats import AUDIO_CONTAINERS
from vasset.adapters.extract.child.headers import plain_pieces
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.options import base_options, checked
from vasset.adapters.extract.child.pieces import Piece, inspect
from vasset.adapters.extract.child.recipe import HOLD_CHAPTERS, HOLD_COVER, OGG, Extras, Recipe, Subtitle
from vasset.adapters.extract.child.sidecars import fetch_covers, fetch_subtitles
from vasset.adapters.extract.child.streams import PLAIN, file_name
from vasset.adapters.extract.child.tags import as_metadata, chapters, language, tags
from vasset.adapters.extract.child.text import seconds
from vasset.adapters.extract.proof import NotProved
from vasset.adapters.extract.sniff import MEDIA, sniff
from vasset.adapters.extract.splice import CannotSplice, straighten

BENCH = "post"  # the folder of one run; wiped at the start of the next
RESULT = "result"
WAS_LIVE = "was_live"
# Where a site does not say what it sends.
USUAL_EXT = {
    "mov": "mp4", "matroska": "mkv", "mpegts": "ts", "flv": "flv", "ogg": "ogg", "mp3": "mp3", "flac": "flac", "wav": "wav",
    "avi": "avi", "asf": "wmv", "mpeg": "mpg", "rm": "rm", "mxf": "mxf",
}  # fmt: skip
DISGUISED = Failure("postprocess", "The site sent something other than video or audio; it was not opened.")
MISSING = Failure("postprocess", "A stream of the video is missing; start the download again.")


def postprocess(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """A JSON object with the fields of ``ProcessedMedia``; the file lies directly in the workspace."""
    workspace = Path(job["workspace"])
    info = json.loads((workspace / INFO_FILE).read_text(encoding="ascii"))
    bench = workspace / BENCH
    try:
        files = _lay_out(workspace, info)
        os.chdir(bench)  # the ffmpeg gate lets nothing out of the working folder
        _straighten(Path(settings["programs"]) / "ffmpeg", files, bench)
        made, remarks = _Run(job, settings, emit, info, bench, files).made()
        result = workspace / f"{RESULT}{made.suffix}"
        made.replace(result)
    finally:
        os.chdir("/")
        shutil.rmtree(bench, ignore_errors=True)
    return {
        "path": str(result),
        "ext": result.suffix.removeprefix("."),
        "duration_seconds": seconds(info.get("duration")),
        "remarks": remarks,
    }


def _lay_out(workspace: Path, info: dict[str, Any]) -> list[Path]:
    """Link the streams into a fresh folder, so that a run that dies leaves them untouched for the next."""
    bench = workspace / BENCH
    shutil.rmtree(bench, ignore_errors=True)
    bench.mkdir(mode=0o700)
    formats = info.get("requested_formats") or [info]
    names = [file_name(form, merged=len(formats) > 1) for form in formats]
    for name in names:
        source = workspace / name
        if not source.is_file() or source.is_symlink():
            raise JobFailed(MISSING)
        if sniff(str(source)) not in MEDIA:
            raise JobFailed(DISGUISED)
        try:
            os.link(source, bench / name)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, bench / name)
    return [bench / name for name in names]


def _straighten(ffmpeg: Path, files: list[Path], bench: Path) -> None:
    """Fragments of several recordings are files whose clock begins anew: of those only a part would be seen."""
    try:
        straighten(ffmpeg, files, folder=bench)
    except CannotSplice as error:
        raise JobFailed(Failure("postprocess", f"The parts of this video cannot be put together: {error}.")) from error


class _Run:
    """One file to be made of ``files``."""

    def __init__(
        self,
        job: dict[str, Any],
        settings: dict[str, Any],
        emit: Emit,
        info: dict[str, Any],
        bench: Path,
        files: list[Path],
    ) -> None:
        self._job = job
        self._settings = settings
        self._emit = emit
        self._info = info
        self._bench = bench
        self._files = files
        self._target = str(job["info"]["target"])
        self._is_sound = bool(job["info"]["audio_only"]) or self._target in AUDIO_CONTAINERS
        self._formats: list[dict[str, Any]] = info.get("requested_formats") or [info]
        self._ffmpeg = Path(settings["programs"]) / "ffmpeg"
        self._remarks: list[str] = []

    def made(self) -> tuple[Path, list[str]]:
        selection = select(self._pieces(), audio_only=self._is_sound)
        if not selection.pictures and not selection.sounds:
            return self._as_served("ffmpeg finds neither a picture nor a sound in it")
        if self._is_sound and not selection.sounds:
            raise JobFailed(Failure("format", "The video has no sound; choose a video format."))
        if not selection.sounds:
            self._remarks.append("the video has no sound: the site offers none")
        ext = self._container(selection)
        recipe = Recipe(ext, tuple(self._files), selection, self._extras(ext), self._languages(selection))
        self._emit({"event": "phase", "phase": "merging" if len(self._files) > 1 else "postprocessing"})
        try:
            made = make(self._ffmpeg, recipe, self._bench, is_recording=self._info.get("live_status") == WAS_LIVE)
        except (NotMade, NotProved) as error:
            return self._as_served(str(error))
        self._emit({"event": "phase", "phase": "postprocessing"})
        return self._named(made)

    def _pieces(self) -> list[Piece]:
        plain = plain_pieces(self._files) if len(self._files) > 1 and not self._is_sound else None
        return plain or inspect(self._ffmpeg, self._files, self._bench)

    def _container(self, selection: Selection) -> str:
        if self._is_sound:
            return sound_container(self._target, selection)
        ext, remark = video_container(self._target, selection)
        self._remarks += [remark] if remark else []
        if selection.attachments and ext != "mkv":
            self._remarks.append("the fonts of the subtitles were left out: only mkv holds them")
        return ext

    def _extras(self, ext: str) -> Extras:
        options = base_options(self._job, self._settings) | checked(
            {
                "hls_prefer_native": True,
                "fragment_retries": 2,
                "skip_unavailable_fragments": False,
                "concurrent_fragment_downloads": 4,
                "overwrites": True,
            }
        )
        cover: Path | None = None
        size: tuple[int, int] | None = None
        subtitles: tuple[Subtitle, ...] = ()
        with GuardedDownloader(options) as downloader:
            downloader.take_cookies(self._job)
            if ext in VIDEO_TARGETS and not self._is_sound:
                subtitles = fetch_subtitles(downloader, self._info, self._bench, self._remarks)
            for picture in (
                fetch_covers(downloader, self._info, self._bench, self._remarks) if ext in HOLD_COVER else ()
            ):
                if (ready := prepared(self._ffmpeg, picture, self._bench)) is None:
                    self._remarks.append("the cover was left out: the site's picture cannot be read")
                else:
                    cover, size = ready
        found = chapters(self._info) if ext in HOLD_CHAPTERS else []
        in_metadata = cover.read_bytes() if cover is not None and ext in OGG else None
        metadata = None
        if found or in_metadata is not None:
            metadata = self._bench / "metadata.txt"
            metadata.write_text(as_metadata(found, in_metadata, size), encoding="utf-8")
        return Extras(tags(self._info), metadata, cover if ext not in OGG else None, subtitles)

    def _languages(self, selection: Selection) -> tuple[str | None, ...]:
        """Of a sound that the site offered as one; several sounds in one file have tags of their own."""
        if len(selection.sounds) != 1:
            return ()
        return (language(self._formats[selection.sounds[0].file].get("language")),)

    def _named(self, made: Made) -> tuple[Path, list[str]]:
        return made.path, [*self._remarks, *made.remarks]

    def _as_served(self, why: str) -> tuple[Path, list[str]]:
        """What the site served as one file is its file, whatever can be made of it: it is not fetched twice for its form."""
        (form, *others), first = self._formats, self._files[0]
        sys.stderr.write(f"warning {self._job.get('task_id') or '-'} the file was not made: {why[:300]}\n")
        if others or str(form.get("protocol")) not in PLAIN or self._is_sound:
            words = f"What was fetched could not be put together ({_words(why)}); try mkv or original."
            raise JobFailed(Failure("postprocess", words))
        if first.suffix in {".bin", ""}:
            first = first.rename(first.with_suffix(f".{USUAL_EXT.get(sniff(str(first)) or '', 'bin')}"))
        return first, [f"{self._target} could not be made of it: the file is as the site served it"]


def _words(why: str) -> str:
    """Ours when it is a proof that failed; ffmpeg's own words name files and are for the log."""
    return why if why.startswith(("its ", "it plays", "the clock", "there is")) else "ffmpeg refused it"
