"""What a plain MP4 says of itself is what ffmpeg says of it; anything else is left to ffmpeg."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.media import Media
from vasset.adapters.extract.child.headers import plain_pieces
from vasset.adapters.extract.child.pieces import inspect

pytestmark = pytest.mark.xdist_group("extract")

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1")
SOUND = ("-f", "lavfi", "-i", "sine=duration=1")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
FRAGMENTED = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-f", "mp4")


def made(folder: Path, name: str, *arguments: str) -> Path:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments, name]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return folder / name


@pytest.mark.parametrize(
    ("picture", "sound"),
    [
        ((*PICTURE, *H264, *FRAGMENTED), (*SOUND, "-c:a", "aac", *FRAGMENTED)),
        ((*PICTURE, *H264, "-movflags", "+faststart"), (*SOUND, "-c:a", "aac", "-ac", "6")),
        ((*PICTURE, "-c:v", "libvpx-vp9", "-deadline", "realtime", *FRAGMENTED), (*SOUND, "-c:a", "libopus", *FRAGMENTED)),
        ((*PICTURE, *H264, *FRAGMENTED), (*SOUND, "-c:a", "eac3", "-ac", "2")),
    ],
)  # fmt: skip
def test_a_plain_pair_is_named_as_ffmpeg_names_it(
    picture: tuple[str, ...], sound: tuple[str, ...], tmp_path: Path
) -> None:
    pair = [made(tmp_path, "picture.mp4", *picture), made(tmp_path, "sound.mp4", *sound)]
    named = plain_pieces(pair)
    assert named is not None
    by_ffmpeg = inspect(Path(shutil.which("ffmpeg") or ""), pair, tmp_path)
    assert named == [replace(piece, is_surround=False) for piece in by_ffmpeg]


@pytest.mark.parametrize(
    "arguments",
    [
        (*PICTURE, *SOUND, *H264, "-c:a", "aac"),
        (*SOUND, "-c:a", "libmp3lame"),
        (*PICTURE, "-c:v", "mpeg4"),
        (*SOUND, *PICTURE, "-map", "0", "-map", "1", "-c:a", "aac", "-c:v", "png", "-frames:v", "1", "-disposition:v", "attached_pic"),
        (*PICTURE, *H264, "-f", "matroska"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_ffmpeg(arguments: tuple[str, ...], media: Media, tmp_path: Path) -> None:
    assert plain_pieces([media.folder / "audio_only.m4a", made(tmp_path, "odd.mp4", *arguments)]) is None


def test_broken_headers_raise_nothing(tmp_path: Path) -> None:
    """Every cut of a header, and every byte of it changed."""
    whole = made(tmp_path, "sound.m4a", *SOUND, "-c:a", "aac", "-movflags", "+faststart").read_bytes()
    begin = whole.index(b"moov")
    broken = tmp_path / "broken.m4a"
    for at in range(begin - 4, begin + 600):
        broken.write_bytes(whole[:at])
        plain_pieces([broken])
        broken.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        plain_pieces([broken])
    assert plain_pieces([tmp_path / "missing.mp4"]) is None
