"""A file that ffmpeg made counts when it opens, has its sources' streams and plays as long as they do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.media import Media
from vasset.adapters.extract.child.attempts import make
from vasset.adapters.extract.child.containers import Selection
from vasset.adapters.extract.child.pieces import Piece
from vasset.adapters.extract.child.recipe import Extras, Recipe
from vasset.adapters.extract.complaints import complain_of_disk
from vasset.adapters.extract.programs import install_programs
from vasset.adapters.extract.proof import NotProved, Track, compare, prove
from vasset.adapters.fetch.merge import CannotMerge, merge

pytestmark = pytest.mark.xdist_group("extract")


@pytest.fixture
def ffmpeg(tmp_path: Path) -> Path:
    """Behind the gate, and without ffprobe."""
    return install_programs(tmp_path / "bin").folder / "ffmpeg"


@pytest.fixture
def pair(media: Media, tmp_path: Path) -> tuple[Path, Path]:
    for name in ("video_only.mp4", "audio_only.m4a", "progressive.mp4", "progressive.webm"):
        shutil.copy(media.folder / name, tmp_path / name)
    return tmp_path / "video_only.mp4", tmp_path / "audio_only.m4a"


def made_by(folder: Path, *arguments: str) -> Path:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments, "made.mp4"]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return folder / "made.mp4"


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_a_whole_merge_is_proved(tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path], container: str) -> None:
    made = made_by(tmp_path, "-i", "video_only.mp4", "-i", "audio_only.m4a", "-c", "copy").rename(tmp_path / "x.mp4")
    if container != "mp4":
        made = tmp_path / f"x.{container}"
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", tmp_path / "x.mp4", "-c", "copy", made], check=True)
    assert [track.kind for track in prove(ffmpeg, made, pair, folder=tmp_path)] == ["video", "audio"]


def test_a_merge_whose_end_was_not_written_is_not(tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path]) -> None:
    """What a full disk leaves: an mp4 without its index."""
    made = made_by(tmp_path, "-i", "video_only.mp4", "-i", "audio_only.m4a", "-c", "copy")
    made.write_bytes(made.read_bytes()[:-20_000])
    with pytest.raises(NotProved, match="cannot be read"):
        prove(ffmpeg, made, pair, folder=tmp_path)


def test_an_index_in_front_of_missing_bytes_is_no_proof(tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path]) -> None:
    made = made_by(tmp_path, "-i", "video_only.mp4", "-i", "audio_only.m4a", "-c", "copy", "-movflags", "faststart")
    made.write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    with pytest.raises(NotProved, match=r"plays [0-9.]+ s of 6\.00 s"):
        prove(ffmpeg, made, pair, folder=tmp_path)


def test_a_sound_that_is_missing_or_shorter_is_named(tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path]) -> None:
    silent = made_by(tmp_path, "-i", "video_only.mp4", "-c", "copy")
    with pytest.raises(NotProved, match="sound is missing"):
        prove(ffmpeg, silent, pair, folder=tmp_path)
    short = made_by(tmp_path, "-i", "video_only.mp4", "-t", "3", "-i", "audio_only.m4a", "-c", "copy")
    with pytest.raises(NotProved, match=r"sound plays 3\.\d+ s of 6"):
        prove(ffmpeg, short, pair, folder=tmp_path)


def test_a_playlist_that_promised_more_is_believed(tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path]) -> None:
    made = made_by(tmp_path, "-i", "video_only.mp4", "-i", "audio_only.m4a", "-c", "copy")
    prove(ffmpeg, made, pair, folder=tmp_path, seconds=6.2)
    with pytest.raises(NotProved, match=r"6\.0 s of 12\.0 s"):
        prove(ffmpeg, made, pair, folder=tmp_path, seconds=12.0)


def test_a_clock_that_begins_anew_is_noticed() -> None:
    twice = Track("video", "h264", packets=300, start=0.0, end=6.0, played=12.0)
    with pytest.raises(NotProved, match=r"begins anew: 12\.0 s of it play in 6\.0 s"):
        compare([twice], [twice])


@pytest.mark.parametrize(
    "line",
    [
        "av_interleaved_write_frame(): No space left on device",
        "[out#0/mp4 @ 0x55] Error writing trailer: Disk quota exceeded",
        "Error writing trailer of file:/x.mp4: File too large",
        "av_interleaved_write_frame(): Input/output error\nError writing trailer of file:/x: Input/output error",
    ],
)
def test_what_ffmpeg_says_of_the_disk_is_heard(line: str) -> None:
    with pytest.raises(OSError, match=r"left|quota|large|error"):
        complain_of_disk(f"frame= 1\n{line}\nvideo:1kB")


def test_a_broken_input_is_not_the_disks_fault() -> None:
    complain_of_disk("file:/x.mp4: Input/output error\nfile:/x.mp4: Invalid data found when processing input")


def test_a_merge_that_does_not_fit_leaves_its_sources_and_nothing_else(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    """The kernel's own bound on a file's size, which ffmpeg meets as it meets a full disk."""
    sizes = [path.stat().st_size for path in pair]
    program = f"""
import resource, sys
from pathlib import Path
from vasset.adapters.fetch.merge import DiskRefused, merge
resource.setrlimit(resource.RLIMIT_FSIZE, ({sum(sizes) - 10_000}, resource.RLIM_INFINITY))
try:
    merge(Path({str(pair[0])!r}), Path({str(pair[1])!r}), Path({str(tmp_path / "out.mp4")!r}), check=lambda path: None)
except DiskRefused as error:
    sys.exit(f"disk: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.startswith("disk: the merged file could not be written"), done.stderr
    assert [path.stat().st_size for path in pair] == sizes
    assert list(tmp_path.glob("out*")) == []


def test_a_merge_is_published_when_it_is_whole(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    merge(*pair, tmp_path / "out.mp4", check=lambda path: None)
    assert not any(path.exists() for path in pair)
    assert (tmp_path / "out.mp4").is_file()


def test_two_streams_that_are_none_are_not_merged(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    pair[1].write_bytes(b"\0\0\0\x18ftypmp42" + bytes(2_000))
    with pytest.raises(CannotMerge):
        merge(*pair, tmp_path / "out.mp4", check=lambda path: None)
    assert all(path.exists() for path in pair)


def counting(folder: Path, ffmpeg: Path, afterwards: str = ":") -> Path:
    """``ffmpeg`` that notes each of its starts in ``folder/starts``; ``afterwards`` runs when it has ended well."""
    program = folder / "counting"
    program.write_text(f'#!/bin/sh\necho "$*" >> {folder / "starts"}\n{ffmpeg} "$@" && {afterwards}\n')
    program.chmod(0o700)
    return program


def recipe_for(pair: tuple[Path, Path]) -> Recipe:
    picture, sound = Piece(0, 0, "video", "h264"), Piece(1, 0, "audio", "aac")
    return Recipe("mp4", pair, Selection((picture,), (sound,), (), (), ()), Extras())


def test_the_sources_are_read_while_the_file_is_made(tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path]) -> None:
    made = make(counting(tmp_path, ffmpeg), recipe_for(pair), tmp_path)
    making, proving = (tmp_path / "starts").read_text().splitlines()
    assert all(str(source) in making for source in pair)
    assert str(made.path) in proving
    assert not any(str(source) in proving for source in pair)


def test_a_file_that_lost_its_end_after_ffmpeg_ended_well_is_not_taken(
    tmp_path: Path, ffmpeg: Path, pair: tuple[Path, Path]
) -> None:
    """Of every form that is tried: what was read of the sources is what each is compared with."""
    cut = f'for made in {tmp_path}/made.*; do truncate -s -30000 "$made"; done'
    with pytest.raises(NotProved):
        make(counting(tmp_path, ffmpeg, cut), recipe_for(pair), tmp_path)
    assert list(tmp_path.glob("made.*")) == []
