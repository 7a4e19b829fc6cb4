"""ffmpeg is started on the task's own files only, each with the demuxer its bytes call for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vasset.adapters.extract import ffmpeg_gate
from vasset.adapters.extract.ffmpeg_gate import Refused, guarded

MP4 = b"\0\0\0\x20ftypisom" + bytes(64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    (work / "video.mp4").write_bytes(MP4)
    (work / "audio.m4a").write_bytes(MP4)
    (work / "cover.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(64))
    (work / "list.mp4").write_bytes(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    (tmp_path / "other.mp4").write_bytes(MP4)
    (work / "link.mp4").symlink_to(tmp_path / "other.mp4")
    return work


def test_every_input_gets_a_forced_demuxer_and_the_file_protocol(folder: Path) -> None:
    merge = ["-y", "-loglevel", "repeat+info", "-i", f"file:{folder}/video.mp4", "-i", f"file:{folder}/audio.m4a",
             "-c", "copy", "-map", "0:v:0", "-map", "1:a:0", "-movflags", "+faststart", f"file:{folder}/out.mp4"]  # fmt: skip
    allowed = guarded("ffmpeg", merge, str(folder))
    assert allowed[0] == "-nostdin"
    forced = ["-protocol_whitelist", "file", "-f", "mov", "-i"]
    positions = [at for at, word in enumerate(allowed) if word == "-i"]
    assert [allowed[at - 4 : at + 1] for at in positions] == [forced, forced]
    assert allowed[-1] == f"file:{folder}/out.mp4"


def test_a_demuxer_asked_for_gives_way_to_the_one_the_bytes_call_for(folder: Path) -> None:
    command = ["-y", "-f", "image2", "-pattern_type", "none", "-i", f"file:{folder}/cover.jpg", f"file:{folder}/c.png"]
    allowed = guarded("ffmpeg", command, str(folder))
    assert "image2" not in allowed
    assert "jpeg_pipe" in allowed
    assert "-pattern_type" not in allowed


@pytest.mark.parametrize(
    "name",
    [
        "http://127.0.0.1/x.mp4",
        "https://example.com/x.mp4",
        "concat:a|b",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "pipe:0",
        "tcp://127.0.0.1:6379",
        "unix:/run/x",
        "data:video/mp4;base64,AAAA",
        "crypto:file:/etc/passwd",
        "/etc/passwd",
        "file:/etc/passwd",
        "file:../other.mp4",
        "-",
    ],
)
def test_an_input_that_is_not_a_file_of_the_task_is_refused(folder: Path, name: str) -> None:
    with pytest.raises((Refused, OSError)):
        guarded("ffmpeg", ["-i", name, f"file:{folder}/out.mp4"], str(folder))


@pytest.mark.parametrize("name", ["list.mp4", "link.mp4"])
def test_a_playlist_in_disguise_and_a_symlink_are_refused(folder: Path, name: str) -> None:
    with pytest.raises((Refused, OSError)):
        guarded("ffmpeg", ["-i", f"file:{folder}/{name}", f"file:{folder}/out.mp4"], str(folder))
    with pytest.raises((Refused, OSError)):
        guarded("ffprobe", ["-show_streams", f"file:{folder}/{name}"], str(folder))


@pytest.mark.parametrize(
    "output",
    [
        "http://127.0.0.1/upload",
        "tcp://127.0.0.1:1",
        "file:/tmp/out.mp4",
        "/tmp/out.mp4",
        "tee:a|b",
        "udp://10.0.0.1:1",
    ],
)
def test_an_output_outside_the_folder_is_refused(folder: Path, output: str) -> None:
    with pytest.raises(Refused):
        guarded("ffmpeg", ["-i", f"file:{folder}/video.mp4", output], str(folder))


@pytest.mark.parametrize(
    "option",
    ["-filter_complex", "-vf", "-filter:v", "-lavfi", "-/filter:v", "-progress", "-dump_attachment:t", "-report"],
)
def test_an_option_that_names_files_is_refused(folder: Path, option: str) -> None:
    with pytest.raises(Refused):
        guarded("ffmpeg", ["-i", f"file:{folder}/video.mp4", option, "movie=/etc/passwd", f"file:{folder}/o.mp4"], str(folder))  # fmt: skip


def test_a_title_may_say_anything(folder: Path) -> None:
    command = ["-i", f"file:{folder}/video.mp4", "-metadata", "purl=http://127.0.0.1/x", "-metadata", "concat:/etc/passwd",
               f"file:{folder}/out.mp4"]  # fmt: skip
    assert "concat:/etc/passwd" in guarded("ffmpeg", command, str(folder))


def test_an_attachment_must_lie_in_the_folder(folder: Path) -> None:
    command = ["-i", f"file:{folder}/video.mp4", "-attach", "/etc/passwd", f"file:{folder}/out.mkv"]
    with pytest.raises(Refused):
        guarded("ffmpeg", command, str(folder))


def test_questions_about_the_program_itself_are_answered(folder: Path) -> None:
    assert guarded("ffmpeg", ["-bsfs"], str(folder)) == ["-bsfs"]
    with pytest.raises((Refused, OSError, ValueError)):
        guarded("ffprobe", ["-bsfs", "/etc/passwd"], str(folder))


def test_the_gate_starts_without_what_takes_longer_than_the_interpreter(folder: Path) -> None:
    gate = str(Path(ffmpeg_gate.__file__))
    asked = ["-I", "-S", "-X", "importtime", gate, "ffmpeg", "/bin/true", "-version"]
    said = subprocess.run([sys.executable, *asked], cwd=folder, capture_output=True, text=True, check=True).stderr
    loaded = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert "vasset.adapters.extract.sniff" in loaded
    assert not loaded & {"pathlib", "re", "enum", "subprocess", "urllib.parse"}
