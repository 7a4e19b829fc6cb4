"""A picture of any kind and size → a JPEG or PNG that players take for a cover."""

from __future__ import annotations

import subprocess
from pathlib import Path

from vasset.adapters.extract.child.pieces import inspect
from vasset.adapters.extract.complaints import complain_of_disk

CONVERSION_SECONDS = 60
MAX_SIDE = 1_920
MAX_BYTES = 3 * 2**20
TAKEN_AS_IT_IS = frozenset({".jpg", ".png"})


def prepared(ffmpeg: Path, picture: Path, folder: Path) -> tuple[Path, tuple[int, int]] | None:
    """The cover and its size; None when ffmpeg cannot read ``picture``. Raises ``OSError`` of a disk."""
    found = next((piece for piece in inspect(ffmpeg, [picture], folder) if piece.size), None)
    if found is None or found.size is None:
        return None
    width, height = found.size
    if picture.suffix in TAKEN_AS_IT_IS and max(width, height) <= MAX_SIDE and picture.stat().st_size <= MAX_BYTES:
        return picture, (width, height)
    shrunk = min(1.0, MAX_SIDE / max(width, height))
    size = max(2, round(width * shrunk)), max(2, round(height * shrunk))
    made = folder / "converted.jpg"
    command = [
        str(ffmpeg), "-hide_banner", "-loglevel", "error", "-y", "-i", f"file:{picture}", "-map", "0:v:0", "-frames:v", "1",
        "-s", f"{size[0]}x{size[1]}", "-pix_fmt", "yuvj420p", "-q:v", "2", "-f", "mjpeg", f"file:{made}",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=CONVERSION_SECONDS, check=False
    )
    complain_of_disk(done.stderr.decode("utf-8", "replace"))
    if done.returncode != 0 or not made.is_file() or made.stat().st_size == 0:
        return None
    return made, size
