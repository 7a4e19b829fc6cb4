"""`vasset fetch` of playlists: which stream is taken, sound that is apart, and what is not a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.media import SECONDS, Media
from tests.support.origin import Origin, running_origin
from tests.support.processes import run_vasset, vasset_command, vasset_environment

pytestmark = pytest.mark.xdist_group("command_line")

MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="English",LANGUAGE="en",DEFAULT=YES,URI="english/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="Deutsch",LANGUAGE="de",URI="german/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=320x180,CODECS="avc1.42c015,mp4a.40.2",AUDIO="sound"
low/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000,RESOLUTION=640x360,CODECS="avc1.42c01e,mp4a.40.2",AUDIO="sound"
high/index.m3u8
"""
# The dub has more bits than the original, and stands before it.
LANGUAGES = """<MPD type="static" mediaPresentationDuration="PT10S"><Period>
<AdaptationSet contentType="audio" lang="de"><Label>Deutsch</Label>
<Representation id="d" bandwidth="640000"><BaseURL>german.m4a</BaseURL></Representation></AdaptationSet>
<AdaptationSet contentType="audio" lang="en-GB"><Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
<Representation id="e" bandwidth="64000"><BaseURL>english.m4a</BaseURL></Representation></AdaptationSet>
<AdaptationSet contentType="video">
<Representation id="v" bandwidth="900000" height="360"><BaseURL>picture.mp4</BaseURL></Representation></AdaptationSet>
</Period></MPD>"""


@pytest.fixture(scope="module")
def apart(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    """A site whose `master.m3u8` has two pictures (360p, 180p) and two sounds, each a playlist of its own."""
    folder = tmp_path_factory.mktemp("apart")
    site = folder / "site"
    sources: dict[str, list[str]] = {
        "high": ["-i", str(media.folder / "video_only.mp4"), "-c", "copy"],
        "low": [
            "-i",
            str(media.folder / "video_only.mp4"),
            "-vf",
            "scale=320:180",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ],
        "english": ["-i", str(media.folder / "audio_only.m4a"), "-c", "copy"],
        "german": ["-f", "lavfi", "-i", f"sine=frequency=880:duration={SECONDS}", "-c:a", "aac"],
    }
    for name, source in sources.items():
        (site / name).mkdir(parents=True)
        output = ["-f", "hls", "-hls_time", "1", "-hls_playlist_type", "vod", str(site / name / "index.m3u8")]
        command = ["ffmpeg", "-nostdin", "-loglevel", "error", *source, *output]
        subprocess.run(command, check=True, timeout=120)
    (site / "master.m3u8").write_text(MASTER)
    (site / "live.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhigh/index0.ts\n")
    key = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key"'
    (site / "sample_aes.m3u8").write_text(f"#EXTM3U\n{key}\n#EXTINF:1,\nhigh/index0.ts\n#EXT-X-ENDLIST\n")
    fairplay = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"'
    (site / "fairplay.m3u8").write_text(f"#EXTM3U\n{fairplay}\n#EXTINF:1,\nhigh/index0.ts\n#EXT-X-ENDLIST\n")
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", *sources["german"], str(site / "german.m4a")]
    subprocess.run(command, check=True, timeout=120)
    shutil.copy(media.folder / "audio_only.m4a", site / "english.m4a")
    shutil.copy(media.folder / "video_only.mp4", site / "picture.mp4")
    (site / "languages.mpd").write_text(LANGUAGES)
    protection = '<ContentProtection schemeIdUri="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"/><Representation '
    (site / "widevine.mpd").write_text(LANGUAGES.replace("<Representation ", protection))
    with running_origin(folder, Media(site)) as origin:
        yield origin


async def fetch(origin: Origin, name: str, target: Path, *options: str, **settings: str) -> tuple[int, str, str]:
    return await run_vasset(
        "fetch", origin.url(name), "-o", str(target), *options, egress_allow=origin.address, **settings
    )


def streams_of(path: Path) -> list[tuple[str, int | None]]:
    command = ["ffprobe", "-loglevel", "error", "-show_streams", "-of", "json", str(path)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)["streams"]
    return sorted((stream["codec_type"], stream.get("height")) for stream in found)


@pytest.mark.parametrize(("quality", "height"), [("best", 360), ("200p", 180)])
async def test_sound_that_is_apart_is_fetched_beside_its_picture_and_merged(
    apart: Origin, tmp_path: Path, quality: str, height: int
) -> None:
    target = tmp_path / "film.mp4"
    code, out, err = await fetch(apart, "master.m3u8", target, "--quality", quality, "--json")
    assert code == 0, err + out
    assert streams_of(target) == [("audio", None), ("video", height)]
    assert list(tmp_path.iterdir()) == [target], "the two streams were left behind"
    report = json.loads(out)
    assert report["size"] == target.stat().st_size
    assert report["fetched_bytes"] > 0


async def test_the_sound_alone_is_taken_by_language(apart: Origin, tmp_path: Path) -> None:
    sizes = {}
    for language in ("en", "Deutsch"):
        target = tmp_path / f"{language}.ts"
        code, _, err = await fetch(apart, "master.m3u8", target, "--quality", "audio", "--audio", language)
        assert code == 0, err
        assert streams_of(target) == [("audio", None)]
        sizes[language] = target.stat().st_size
    english = sum(path.stat().st_size for path in (Path(apart.media.folder) / "english").glob("*.ts"))
    assert sizes["en"] == english != sizes["Deutsch"]


async def test_a_manifest_with_sound_apart_is_merged_too(origin: Origin, tmp_path: Path) -> None:
    target = tmp_path / "film.mkv"
    code, out, err = await fetch(origin, "separate.mpd", target)
    assert code == 0, err + out
    assert streams_of(target) == [("audio", None), ("video", 360)]


async def test_of_the_languages_of_a_manifest_the_main_one_is_taken_and_any_other_on_request(
    apart: Origin, tmp_path: Path
) -> None:
    site = apart.media.folder
    for number, (options, name) in enumerate(
        (((), "english"), (("--audio", "en"), "english"), (("--audio", "de"), "german"))
    ):
        target = tmp_path / f"{number}.m4a"
        code, out, err = await fetch(apart, "languages.mpd", target, "--quality", "audio", *options)
        assert code == 0, err + out
        assert target.read_bytes() == (site / f"{name}.m4a").read_bytes()
    code, _, err = await fetch(apart, "languages.mpd", tmp_path / "none.m4a", "--audio", "ja")
    assert code == 3, err
    assert "de Deutsch, en-GB" in err
    code, out, err = await fetch(apart, "languages.mpd", tmp_path / "film.mkv", "--audio", "deutsch")
    assert code == 0, err + out
    assert streams_of(tmp_path / "film.mkv") == [("audio", None), ("video", 360)]


async def test_without_ffmpeg_the_two_files_are_named_and_the_next_run_merges_them(
    apart: Origin, tmp_path: Path
) -> None:
    target = tmp_path / "film.mp4"
    bare = tmp_path / "bin"
    bare.mkdir()
    environment = vasset_environment(egress_allow=apart.address) | {"PATH": str(bare)}
    command = vasset_command("fetch", apart.url("master.m3u8"), "-o", str(target))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    picture, sound = (next(tmp_path.glob(f"film.mp4.*.{kind}")) for kind in ("video", "audio"))
    assert not target.exists()
    assert done.stderr.count("\n") == 1
    assert "ffmpeg is not installed" in done.stderr
    assert str(picture) in done.stderr
    assert str(sound) in done.stderr
    code, out, err = await fetch(apart, "master.m3u8", target, "--json")
    assert code == 0, err + out
    assert json.loads(out)["fetched_bytes"] == 0, "complete streams were fetched again"
    assert streams_of(target) == [("audio", None), ("video", 360)]
    assert not picture.exists()
    assert not sound.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("live.m3u8", "is live"),
        ("sample_aes.m3u8", "SAMPLE-AES"),
        ("fairplay.m3u8", "protected by DRM"),
        ("widevine.mpd", "protected by DRM"),
    ],
)
async def test_what_is_live_or_protected_is_said_in_one_sentence(
    apart: Origin, tmp_path: Path, name: str, words: str
) -> None:
    code, out, err = await fetch(apart, name, tmp_path / "film.ts")
    assert code == 6, err + out
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"), [(("--quality", "100p"), "180p, 360p"), (("--audio", "ja"), "en English, de Deutsch")]
)
async def test_a_choice_that_is_not_offered_is_refused_with_what_there_is(
    apart: Origin, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    code, _, err = await fetch(apart, "master.m3u8", tmp_path / "film.ts", *options)
    assert code == 3
    assert words in err
    assert list(tmp_path.iterdir()) == []


async def test_an_existing_file_is_never_replaced(apart: Origin, tmp_path: Path) -> None:
    target = tmp_path / "film.mp4"
    target.write_bytes(b"mine")
    code, _, err = await fetch(apart, "master.m3u8", target)
    assert code == 5, err
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("address", "needless"),
    [
        ("http://10.0.0.1/x", {"typing", "dataclasses", "subprocess", "vasset.adapters.fetch.playlist"}),
        ("http://10.0.0.1/x.m3u8", {"typing", "dataclasses", "subprocess", "vasset.adapters.fetch.pair"}),
    ],
)
def test_fetching_imports_nothing_it_does_not_need(address: str, needless: set[str]) -> None:
    script = (
        f"import sys\nfrom vasset import cli\ntry: cli.main(['fetch', {address!r}, '-o', '/nonexistent/x', '-q'])\n"
        f"except SystemExit: pass\nextra = {needless!r} & set(sys.modules)\n"
        "sys.exit(f'imported {extra}' if extra else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
