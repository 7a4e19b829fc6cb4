"""A joined playlist becomes the file its name promises: one clock, and the container its extension says.

Imported only for what needs ffmpeg; :mod:`vasset.adapters.fetch.playlist` finds out.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from vasset.adapters.extract.complaints import complain_of_disk, last_words
from vasset.adapters.extract.programs import install_programs
from vasset.adapters.extract.proof import NotProved, prove
from vasset.adapters.extract.splice import CannotSplice, straighten
from vasset.adapters.fetch.name import sync

FINISH_SECONDS = 3_600
MUXERS = {
    ".mp4": "mp4", ".m4v": "mp4", ".m4a": "mp4", ".mov": "mov", ".mkv": "matroska", ".mka": "matroska", ".webm": "webm",
    ".ts": "mpegts",
}  # fmt: skip


class CannotFinish(Exception):
    """The file stays as it was fetched; the message says why."""


class DiskRefused(CannotFinish):
    """The disk has no room for the finished file, or fails."""


def finish(whole: Path, suffix: str | None) -> None:
    """Straighten the clock of ``whole``, and give it the container of ``suffix`` if that is another. In place.

    Raises :class:`CannotFinish`.
    """
    whole = whole.absolute()
    made = whole.with_name(f"{whole.name}.made")
    try:
        with tempfile.TemporaryDirectory(prefix="vasset-finish-") as folder:
            programs = install_programs(Path(folder))
            if not programs.has_ffmpeg:
                raise CannotFinish("ffmpeg is not installed")
            ffmpeg = programs.folder / "ffmpeg"
            straighten(ffmpeg, [whole], folder=whole.parent)
            if suffix is not None:
                _copy(ffmpeg, whole, made, MUXERS[suffix])
                prove(ffmpeg, made, [whole], folder=whole.parent)
                sync(made)
                made.replace(whole)
    except (CannotSplice, NotProved) as error:
        raise CannotFinish(str(error)) from error
    except OSError as error:
        raise DiskRefused(f"the disk refused ({error.strerror})") from error
    finally:
        made.unlink(missing_ok=True)


def _copy(ffmpeg: Path, whole: Path, made: Path, muxer: str) -> None:
    command = [
        str(ffmpeg), "-loglevel", "error", "-y", "-i", f"file:{whole}",
        "-map", "0:V?", "-map", "0:a?", "-c", "copy", "-f", muxer, f"file:{made}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=whole.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=FINISH_SECONDS, check=False
    )
    said = done.stderr.decode(errors="replace")
    complain_of_disk(said)
    if done.returncode != 0:
        raise CannotFinish(f"ffmpeg refused ({last_words(said) or f'exit code {done.returncode}'})")
