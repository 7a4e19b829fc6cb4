"""Pages of our own that yt-dlp's generic extractor reads: one names a film of 7 MB, one the same film as a DASH pair."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECONDS = 30
VIDEO_BITS = 1_870_000
PICTURE = f"testsrc2=size=640x360:rate=25:duration={SECONDS},noise=alls=20"
SOUND = f"sine=duration={SECONDS}"
ENCODED = ("-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k")
RATE = ("-b:v", str(VIDEO_BITS), "-minrate", str(VIDEO_BITS), "-maxrate", str(VIDEO_BITS), "-bufsize", "1M")
DASH = ("-f", "dash", "-seg_duration", "4", "-use_timeline", "0", "-adaptation_sets", "id=0,streams=v id=1,streams=a")


@dataclass(frozen=True, slots=True)
class Watched:
    """One address to download. The file is right when its content is ``content``: its bytes, or its packets where it is made here."""

    name: str
    address: str
    is_merged: bool
    content: str

    def check(self, file: Path) -> bool:
        return (packets(file) if self.is_merged else digest(file)) == self.content


def make(root: Path) -> list[Watched]:
    """Lay film, pair and pages into ``root``."""
    film = root / "film.mp4"
    _ffmpeg("-f", "lavfi", "-i", PICTURE, "-f", "lavfi", "-i", SOUND, *ENCODED, *RATE, "-movflags", "+faststart", film)
    _ffmpeg("-i", film, "-c", "copy", *DASH, root / "pair.mpd")
    (root / "page.html").write_text(_page("A film of our own", '<video src="film.mp4" controls></video>'))
    source = '<source src="pair.mpd" type="application/dash+xml">'
    (root / "pair.html").write_text(_page("A pair of our own", f"<video controls>{source}</video>"))
    return [
        Watched("a page with a film of 7 MB", "page.html", is_merged=False, content=digest(film)),
        Watched("a DASH pair", "pair.mpd", is_merged=True, content=packets(film)),
        Watched("a page with a DASH pair", "pair.html", is_merged=True, content=packets(film)),
    ]


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def packets(file: Path) -> str:
    """What is inside, whatever holds it: a hash of each stream's packets."""
    return _ffmpeg("-i", file, "-map", "0:v", "-map", "0:a", "-c", "copy", "-f", "streamhash", "-hash", "sha256", "-")


def _page(title: str, body: str) -> str:
    return f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{body}</body></html>\n"


def _ffmpeg(*arguments: str | Path) -> str:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
