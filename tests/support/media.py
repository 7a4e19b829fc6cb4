"""Small real media, made by ffmpeg once per test session and shared by its workers."""

from __future__ import annotations

import fcntl
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECONDS = 6


@dataclass(frozen=True)
class Media:
    """Files below one folder; `separate.mpd` names `video_only.mp4` and `audio_only.m4a` as whole files."""

    folder: Path

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def make_media(shared: Path) -> Media:
    """Generate on first use; other test processes wait for the first."""
    folder = shared / "media"
    with (shared / "media.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            _generate(folder)
            (folder / "done").touch()
    return Media(folder)


def _generate(folder: Path) -> None:
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={SECONDS}"]
    tone = ["-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}"]
    h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"]
    aac = ["-c:a", "aac", "-b:a", "96k"]
    start = ["-movflags", "+faststart"]
    _ffmpeg(folder, *picture, *tone, *h264, *aac, *start, "-shortest", "progressive.mp4")
    _ffmpeg(folder, "-i", "progressive.mp4", "-c", "copy", "-an", *start, "video_only.mp4")
    _ffmpeg(folder, "-i", "progressive.mp4", "-c", "copy", "-vn", *start, "audio_only.m4a")
    _ffmpeg(folder, *picture, *tone, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "600k",
            "-c:a", "libopus", "-shortest", "progressive.webm")  # fmt: skip
    (folder / "hls").mkdir(exist_ok=True)
    _ffmpeg(folder, "-i", "progressive.mp4", "-c", "copy", "-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod",
            "-hls_segment_filename", "hls/part%03d.ts", "hls/index.m3u8")  # fmt: skip
    (folder / "dash").mkdir(exist_ok=True)
    _ffmpeg(folder, "-i", "progressive.mp4", "-c", "copy", "-f", "dash", "-seg_duration", "1", "dash/index.mpd")
    (folder / "separate.mpd").write_text(_separate_manifest())
    for name in ("progressive.mp4", "progressive.webm"):
        page = f'<!doctype html><title>A plain page</title><video src="/media/{name}"></video>'
        (folder / f"{name.replace('.', '_')}.html").write_text(page)


def _separate_manifest() -> str:
    return f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"
     mediaPresentationDuration="PT{SECONDS}S" minBufferTime="PT1S"><Period>
  <AdaptationSet contentType="video" mimeType="video/mp4"><Representation id="v" bandwidth="900000" width="640" height="360"
    codecs="avc1.42c01e"><BaseURL>video_only.mp4</BaseURL></Representation></AdaptationSet>
  <AdaptationSet contentType="audio" mimeType="audio/mp4" lang="en"><Representation id="a" bandwidth="96000"
    codecs="mp4a.40.2"><BaseURL>audio_only.m4a</BaseURL></Representation></AdaptationSet>
</Period></MPD>
"""


def _ffmpeg(folder: Path, *arguments: str) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, cwd=folder, check=True, timeout=120)
