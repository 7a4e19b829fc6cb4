"""Playlists as a real packager writes them: the joined file decodes to the frames of the source."""

from __future__ import annotations

import json
import os
import re
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
from vasset.adapters.fetch import command

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")

WAIT_SECONDS = 60.0
HLS = ("-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod")
DASH = ("-f", "dash", "-seg_duration", "1")


class Quiet(SimpleHTTPRequestHandler):
    """``/live/NAME`` answers the playlist ``NAME`` as bytes of no type."""

    protocol_version = "HTTP/1.1"

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/live/", "/"))

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


FMP4 = (*HLS, "-hls_segment_type", "fmp4")
NAMED_FMP4 = (*FMP4, "-hls_fmp4_init_filename", "{name}-init.mp4", "-hls_segment_filename", "{name}%d.m4s")


@pytest.fixture
def film(site: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A folder of the site with two recordings of 2 s as fMP4: ``a`` and, smaller in bytes, ``b``."""
    root, address = site
    monkeypatch.setenv("VASSET_EGRESS_ALLOW", "127.0.0.1")
    folder = root / "film"
    if not folder.exists():
        folder.mkdir()
        for name, quality in (("a", "20"), ("b", "40")):
            _record(folder, f"{name}.mp4", "-crf", quality)
            options = [option.format(name=name) if "{" in option else option for option in NAMED_FMP4]
            _ffmpeg(folder, "-i", f"{name}.mp4", "-c", "copy", *options, f"{name}.m3u8")
    return folder, f"{address}/film"


def _record(folder: Path, name: str, *options: str, size: str = "160x90") -> None:
    picture = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration=2")
    sound = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=2")
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac")
    _ffmpeg(folder, *picture, *sound, *codecs, *options, name)


def _segments(folder: Path, name: str) -> str:
    return "".join(f"#EXTINF:1,\n{each.name}\n" for each in sorted(folder.glob(f"{name}[0-9].m4s")))


def _list(folder: Path, name: str, body: str) -> None:
    head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
    (folder / name).write_text(f"{head}{body}#EXT-X-ENDLIST\n")


def _fetch(url: str, target: Path, *options: str) -> int:
    return command.main([url, "-o", str(target), "--quiet", *options])


def _seconds(path: Path) -> float:
    said = subprocess.run(
        ("ffmpeg", "-i", str(path)), capture_output=True, text=True, timeout=WAIT_SECONDS, check=False
    )
    found = re.search(r"Duration: (\d+):(\d+):([\d.]+)", said.stderr)
    assert found is not None, said.stderr
    return int(found[1]) * 3_600 + int(found[2]) * 60 + float(found[3])


@pytest.mark.parametrize(
    ("name", "parts"),
    [("maps", ("a", "b", "a")), ("one-map", ("a", "a")), ("same", ("b",))],
)
def test_recordings_with_clocks_of_their_own_play_one_after_the_other(
    film: tuple[Path, str], tmp_path: Path, name: str, parts: tuple[str, ...]
) -> None:
    folder, address = film
    body, before = "", ""
    for part in parts:
        header = f'#EXT-X-MAP:URI="{part}-init.mp4"\n' if part != before else ""
        body += ("#EXT-X-DISCONTINUITY\n" if before else "") + header + _segments(folder, part)
        before = part
    _list(folder, f"{name}.m3u8", body)
    target = tmp_path / "film.mp4"
    assert _fetch(f"{address}/{name}.m3u8", target) == 0
    assert _frames(target) == [frame for part in parts for frame in _frames(folder / f"{part}.mp4")]
    assert abs(_seconds(target) - 2 * len(parts)) < 0.3
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_periods_of_picture_and_sound_stay_together(film: tuple[Path, str], tmp_path: Path) -> None:
    folder, address = film
    _ffmpeg(folder, "-i", "a.mp4", "-c", "copy", *DASH, "-use_timeline", "0", "p.mpd")
    text = (folder / "p.mpd").read_text()
    period = re.search(r"<Period.*</Period>", text, re.DOTALL)
    assert period is not None
    again = [re.sub("<Period[^>]*>", f'<Period id="{number}" duration="PT2S">', period[0]) for number in range(3)]
    silent = re.sub('<AdaptationSet[^>]*contentType="audio".*?</AdaptationSet>', "", again[2], flags=re.DOTALL)
    assert silent != again[2]
    text = re.sub('mediaPresentationDuration="[^"]*"', 'mediaPresentationDuration="PT6S"', text)
    (folder / "periods.mpd").write_text(text.replace(period[0], "".join([*again[:2], silent])))
    target = tmp_path / "film.mp4"
    assert _fetch(f"{address}/periods.mpd", target) == 0
    assert _frames(target) == _frames(folder / "a.mp4") * 3
    assert abs(_seconds(target) - 6) < 0.3


def test_recordings_that_one_file_cannot_hold_are_refused_in_words(
    film: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = film
    _record(folder, "wide.mp4", size="320x180")
    options = [option.format(name="wide") if "{" in option else option for option in NAMED_FMP4]
    _ffmpeg(folder, "-i", "wide.mp4", "-c", "copy", *options, "wide.m3u8")
    maps = [f'#EXT-X-MAP:URI="{part}-init.mp4"\n{_segments(folder, part)}' for part in ("a", "wide")]
    _list(folder, "differ.m3u8", "#EXT-X-DISCONTINUITY\n".join(maps))
    target = tmp_path / "film.mp4"
    assert _fetch(f"{address}/differ.m3u8", target) == 1
    assert "h264 160x90 and aac 44100 Hz mono, then h264 320x180" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(("suffix", "brand"), [(".mp4", b"ftyp"), (".ts", b"G"), (".mkv", b"\x1aE"), (".bin", b"G")])
def test_the_container_is_the_one_the_name_promises(
    film: tuple[Path, str], tmp_path: Path, suffix: str, brand: bytes
) -> None:
    folder, address = film
    _ffmpeg(folder, "-i", "a.mp4", "-c", "copy", *HLS, "ts.m3u8")
    target = tmp_path / f"film{suffix}"
    assert _fetch(f"{address}/ts.m3u8", target) == 0
    assert brand in target.read_bytes()[:8]
    assert _frames(target) == _frames(folder / "a.mp4")


def test_a_playlist_is_known_by_its_content_and_never_is_the_film(
    film: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = film
    _list(folder, "1234", '#EXT-X-MAP:URI="a-init.mp4"\n' + _segments(folder, "a"))
    target = tmp_path / "film.mp4"
    assert _fetch(f"{address}/live/1234", target) == 0
    assert _frames(target) == _frames(folder / "a.mp4")
    (folder / "empty").write_text('<MPD mediaPresentationDuration="PT8S"><Period><AdaptationSet mimeType="video/mp4">'
                                  '<Representation id="v" bandwidth="1"/></AdaptationSet></Period></MPD>')  # fmt: skip
    for options in ((), ("--kind", "dash")):
        assert _fetch(f"{address}/live/empty", tmp_path / "empty.mp4", *options) == 4
    assert "no fragments" in capsys.readouterr().err
    assert _fetch(f"{address}/1234", tmp_path / "list.txt", "--kind", "file") == 0, "whoever wants the text gets it"


def test_missing_segments_are_left_out_only_when_allowed_and_are_said(
    film: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, address = film
    _list(folder, "gap.m3u8", '#EXT-X-MAP:URI="a-init.mp4"\n' + _segments(folder, "a") + "#EXTINF:1,\ngone.m4s\n")
    target = tmp_path / "film.mp4"
    assert _fetch(f"{address}/gap.m3u8", target) == 4
    capsys.readouterr()
    assert _fetch(f"{address}/gap.m3u8", target, "--skip-missing", "1", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["missing_fragments"] == 1
    assert said["remarks"] == ["1 of its segments are missing: the origin does not have them"]


def test_streams_of_an_earlier_run_are_merged_only_if_they_came_from_the_same_address(
    film: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = film
    target = tmp_path / "film.mp4"
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
        _ffmpeg(folder, "-i", f"{name}.mp4", "-c", "copy", *DASH, "-use_timeline", "0", f"{name}/p.mpd")
    with monkeypatch.context() as without_ffmpeg:
        without_ffmpeg.setenv("PATH", "")
        assert _fetch(f"{address}/a/p.mpd", target) == 1
    kept = {path.name for path in tmp_path.iterdir()}
    assert {"film.mp4.0.video", "film.mp4.1.audio"} <= kept
    assert _fetch(f"{address}/b/p.mpd", target) == 0
    assert _frames(target) == _frames(folder / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"], "nothing of the other film is left"

    again = tmp_path / "again.mp4"
    with monkeypatch.context() as without_ffmpeg:
        without_ffmpeg.setenv("PATH", "")
        assert _fetch(f"{address}/a/p.mpd", again) == 1
    for segment in (folder / "a").glob("chunk-*.m4s"):
        segment.unlink()
    assert _fetch(f"{address}/a/p.mpd", again) == 0, "what is complete is not fetched again"
    assert _frames(again) == _frames(folder / "a.mp4")


def test_a_stop_promises_to_go_on_only_where_something_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    assert "begins again" in command._what_is_kept(str(target))
    (tmp_path / "film.mp4.part").write_bytes(b"bytes without a journal")
    (tmp_path / "film.mp4.whole.part").write_bytes(b"")
    (tmp_path / "film.mp4.whole.part.j").write_bytes(b"journal")
    assert "begins again" in command._what_is_kept(str(target))
    (tmp_path / "film.mp4.whole.part").write_bytes(b"bytes")
    assert command._what_is_kept(str(target)).endswith(f"go on from {os.fspath(target)}.whole.part")


def _ffmpeg(folder: Path, *arguments: str) -> str:
    command = ("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments)
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def _frames(path: Path) -> list[str]:
    """The MD5 of every decoded frame; their times depend on the container and are left out."""
    lines = _ffmpeg(path.parent, "-i", path.name, "-map", "0:v", "-f", "framemd5", "-").splitlines()
    return [line.rsplit(",", 1)[1].strip() for line in lines if not line.startswith("#")]
