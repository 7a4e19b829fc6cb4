"""A picture and its sound, both on disk, become one file by ffmpeg behind the gate that the extraction children use."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vasset.adapters.extract.programs import install_programs

if TYPE_CHECKING:
    from vasset import _engine

MERGE_SECONDS = 3_600
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".ts": "mpegts"}


class CannotMerge(Exception):
    """ffmpeg is missing or refused; the message says which, and the two files stay."""


class TargetTaken(Exception):
    """The target appeared meanwhile; it is not replaced."""


def merge(picture: Path, sound: Path, target: Path, *, check: Callable[[Path], None]) -> _engine.Durability:
    """Copy both streams into ``target``, which appears only complete and after ``check`` agreed, and remove the two files.

    Raises what ``check`` raises, :class:`CannotMerge` and :class:`TargetTaken`.
    """
    target = target.absolute()
    unfinished = target.with_name(f"{target.name}.merging")
    with tempfile.TemporaryDirectory(prefix="vasset-merge-") as folder:
        programs = install_programs(Path(folder))
        if not programs.has_ffmpeg:
            raise CannotMerge("ffmpeg is not installed")
        unfinished.unlink(missing_ok=True)
        command = [
            str(programs.folder / "ffmpeg"), "-loglevel", "error", "-y",
            "-i", f"file:{picture.absolute()}", "-i", f"file:{sound.absolute()}",
            "-map", "0:v", "-map", "1:a", "-c", "copy", "-f", FORMATS.get(target.suffix.lower(), "matroska"), f"file:{unfinished}",
        ]  # fmt: skip
        done = subprocess.run(
            command,
            cwd=target.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MERGE_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise CannotMerge(f"ffmpeg refused ({words[-1] if words else f'exit code {done.returncode}'})")
    try:
        check(unfinished)
    except BaseException:
        unfinished.unlink()
        raise
    durability = _publish(unfinished, target)
    picture.unlink()
    sound.unlink()
    return durability


def _publish(unfinished: Path, target: Path) -> _engine.Durability:
    _sync(unfinished)
    try:
        # Unlike a rename, a link never replaces.
        os.link(unfinished, target)
    except FileExistsError:
        raise TargetTaken(f"{target} exists and is never replaced; move it away or choose another name") from None
    except OSError as error:
        raise CannotMerge(f"{target} cannot get its name ({error.strerror})") from error
    finally:
        unfinished.unlink()
    try:
        _sync(target.parent)
    except OSError:
        return "unknown"
    return "synced"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
