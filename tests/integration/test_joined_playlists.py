"""Playlists as a real packager writes them: the joined file decodes to the frames of the source."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

import pytest

from vasset import _engine

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

WAIT_SECONDS = 60.0
HLS = ("-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod")
DASH = ("-f", "dash", "-seg_duration", "1")


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest shows what fails."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with ``source.mp4`` (4 s, a key frame each second), and the address it is served at."""
    folder = tmp_path_factory.mktemp("site")
    picture = "testsrc2=size=160x90:rate=25:duration=4"
    _ffmpeg(folder, "-f", "lavfi", "-i", picture, "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "source.mp4")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield folder, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WAIT_SECONDS)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("ts", "hls", HLS),
        ("fmp4", "hls", (*HLS, "-hls_segment_type", "fmp4")),
        ("encrypted", "hls", (*HLS, "-hls_key_info_file", "key.info")),
        ("one-file", "hls", (*HLS, "-hls_flags", "single_file")),
        ("timeline", "dash", (*DASH, "-use_timeline", "1")),
        ("number", "dash", (*DASH, "-use_timeline", "0")),
        ("list", "dash", (*DASH, "-use_template", "0")),
    ],
)
def test_a_joined_playlist_has_every_frame_of_its_source(
    site: tuple[Path, str],
    tmp_path: Path,
    name: str,
    kind: Literal["hls", "dash"],
    options: tuple[str, ...],
) -> None:
    root, address = site
    folder = root / name
    folder.mkdir()
    (folder / "film.key").write_bytes(bytes(range(16)))
    (folder / "key.info").write_text("film.key\nfilm.key\n")
    playlist = "film.mpd" if kind == "dash" else "film.m3u8"
    _ffmpeg(folder, "-i", "../source.mp4", "-map", "0:v", "-c", "copy", *options, playlist)
    target = tmp_path / "joined"
    engine = _engine.Engine(egress_allow=["127.0.0.1"])
    try:
        engine.submit(_engine.Request(f"{address}/{name}/{playlist}", str(target), kind=kind)).wait(WAIT_SECONDS)
    finally:
        engine.close()
    assert _frames(target) == _frames(root / "source.mp4")


def _ffmpeg(folder: Path, *arguments: str) -> str:
    command = ("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments)
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _frames(path: Path) -> list[str]:
    """The MD5 of every decoded frame; their times depend on the container and are left out."""
    lines = _ffmpeg(path.parent, "-i", path.name, "-map", "0:v", "-f", "framemd5", "-").splitlines()
    return [line.rsplit(",", 1)[1].strip() for line in lines if not line.startswith("#")]
