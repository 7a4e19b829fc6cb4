"""A picture and its sound, both on disk, become one file by ffmpeg behind the gate that the extraction children use."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vasset.adapters.extract.complaints import complain_of_disk, last_words
from vasset.adapters.extract.programs import install_programs
from vasset.adapters.extract.proof import NotProved, prove
from vasset.adapters.extract.splice import CannotSplice, straighten
from vasset.adapters.fetch.name import give_name, sync

if TYPE_CHECKING:
    from vasset import _engine

MERGE_SECONDS = 3_600
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".ts": "mpegts"}


class CannotMerge(Exception):
    """ffmpeg is missing or refused; the message says which, and the two files stay."""


class DiskRefused(CannotMerge):
    """The disk has no room for the merged file, or fails; the two files stay."""


def merge(picture: Path, sound: Path, target: Path, *, check: Callable[[Path], None]) -> _engine.Durability:
    """Copy both streams into ``target``, which appears only complete and after ``check`` agreed, and remove the two files.

    Raises what ``check`` raises, :class:`CannotMerge`, :class:`DiskRefused` among them, and :class:`TargetTaken`.
    """
    target = target.absolute()
    unfinished = target.with_name(f"{target.name}.merging")
    with tempfile.TemporaryDirectory(prefix="vasset-merge-") as folder:
        programs = install_programs(Path(folder))
        if not programs.has_ffmpeg:
            raise CannotMerge("ffmpeg is not installed")
        unfinished.unlink(missing_ok=True)
        try:
            straighten(programs.folder / "ffmpeg", [picture.absolute(), sound.absolute()], folder=target.parent)
            _copy(
                programs.folder / "ffmpeg", picture, sound, unfinished, FORMATS.get(target.suffix.lower(), "matroska")
            )
            prove(programs.folder / "ffmpeg", unfinished, [picture.absolute(), sound.absolute()], folder=target.parent)
            check(unfinished)
            sync(unfinished)
        except CannotSplice as error:
            raise CannotMerge(str(error)) from error
        except NotProved as error:
            unfinished.unlink(missing_ok=True)
            raise CannotMerge(f"what ffmpeg made is not whole: {error}") from error
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise DiskRefused(f"the merged file could not be written ({error.strerror})") from error
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    try:
        durability = give_name(unfinished, target)
    except OSError as error:
        raise CannotMerge(f"{target} cannot get its name ({error.strerror})") from error
    finally:
        unfinished.unlink(missing_ok=True)
    picture.unlink()
    sound.unlink()
    return durability


def _copy(ffmpeg: Path, picture: Path, sound: Path, made: Path, container: str) -> None:
    """Its exit code says little: on a full disk it may be 0, so its words are read as well."""
    command = [
        str(ffmpeg), "-loglevel", "error", "-y",
        "-i", f"file:{picture.absolute()}", "-i", f"file:{sound.absolute()}",
        "-map", "0:v", "-map", "1:a", "-c", "copy", "-f", container, f"file:{made}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=made.parent, stdin=subprocess.DEVNULL, capture_output=True, timeout=MERGE_SECONDS, check=False
    )
    said = done.stderr.decode(errors="replace")
    complain_of_disk(said)
    if done.returncode != 0:
        raise CannotMerge(f"ffmpeg refused ({last_words(said) or f'exit code {done.returncode}'})")
