"""What is inside the files that were fetched, as ffmpeg itself lists it: no packet is read, and ffprobe need not be installed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INSPECTION_SECONDS = 120
STREAM = re.compile(
    r"\s*Stream #(?P<file>\d+):(?P<index>\d+)(?:\[0x[0-9a-f]+\])?(?:\((?P<language>[^)]*)\))?: "
    r"(?P<kind>Video|Audio|Subtitle|Data|Attachment): (?P<codec>[\w.-]+)(?P<rest>.*)"
)
SIZE = re.compile(r", (\d{1,6})x(\d{1,6})[ ,\[]")
MANY_CHANNELS = re.compile(r", (?:2\.1|[3-9]\.\d|quad|hexagonal|octagonal|[3-9] channels|\d\d+ channels)")


@dataclass(frozen=True, slots=True)
class Piece:
    """One stream of one of the files. A cover is a picture that its file calls attached."""

    file: int
    index: int
    kind: str  # video, audio, subtitle, cover, attachment, data
    codec: str
    size: tuple[int, int] | None = None
    is_surround: bool = False

    @property
    def address(self) -> str:
        return f"{self.file}:{self.index}"


def inspect(ffmpeg: Path, files: Sequence[Path], folder: Path) -> list[Piece]:
    """Every stream of ``files``, in their order; nothing of a file that ffmpeg cannot open, nor of those after it."""
    command = [str(ffmpeg), "-hide_banner"]
    for file in files:
        command += ["-i", f"file:{file}"]
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=INSPECTION_SECONDS, check=False
    )  # it ends with 1: there is no output
    return read(done.stderr.decode("utf-8", "replace"))


def read(said: str) -> list[Piece]:
    return [_piece(found) for line in said.splitlines() if (found := STREAM.match(line))]


def _piece(found: re.Match[str]) -> Piece:
    kind, rest = found["kind"].lower(), found["rest"]
    if kind == "video" and ("attached pic" in rest or "timed thumbnails" in rest):
        kind = "cover"
    size = SIZE.search(rest)
    return Piece(
        int(found["file"]),
        int(found["index"]),
        kind,
        found["codec"].lower(),
        (int(size[1]), int(size[2])) if size else None,
        MANY_CHANNELS.search(rest) is not None,
    )
