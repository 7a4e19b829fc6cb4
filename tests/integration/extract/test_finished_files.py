"""What was fetched becomes a file, whatever its form, its cover and its subtitles are; what is missing in it is said."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.extraction import PLUGINS, Site, codecs, fetch, probe, request, sending
from tests.support.lying_origin import LyingOrigin, page
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.domain.errors import DiskFull, PostprocessFailed
from vasset.domain.media import ProcessedMedia

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]

PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25:duration=2"]
TONE = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
SRT = "1\n00:00:00,000 --> 00:00:01,000\nHello\n"


def ffmpeg(folder: Path, *arguments: str) -> bytes:
    """The bytes of the last argument, a file made in ``folder``."""
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    return (folder / arguments[-1]).read_bytes()


async def finished(
    extractor: ChildExtractor, url: str, workspace: Path, quality: str = "best", container: str = "mp4"
) -> ProcessedMedia:
    asked = request(url, workspace, quality, container)
    extraction = await extractor.extract(asked)
    await asyncio.to_thread(fetch, extraction, workspace)
    return await extractor.postprocess(asked, extraction, lambda phase: None)


def covers(path: str) -> list[str]:
    return [s["codec_name"] for s in probe(path)["streams"] if s["disposition"].get("attached_pic")]


def subtitles(path: str) -> list[str]:
    return [s["codec_name"] for s in probe(path)["streams"] if s["codec_type"] == "subtitle"]


# --- covers ---


def picture(folder: Path, name: str, size: str = "64x64") -> bytes:
    return ffmpeg(folder, "-f", "lavfi", "-i", f"color=red:size={size}:duration=0.1", "-frames:v", "1", name)


@pytest.mark.parametrize("kind", ["webp", "png", "gif", "jpg"])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
async def test_a_thumbnail_of_any_kind_becomes_the_cover(
    extractor: ChildExtractor,
    site: Site,
    hostile: LyingOrigin,
    workspace: Path,
    tmp_path: Path,
    kind: str,
    container: str,
) -> None:
    """Also under another's name: YouTube's best one is a webp, and many sites call theirs jpg."""
    hostile.routes["/cover.jpg"] = sending(picture(tmp_path, f"c.{kind}"))
    media = await finished(
        extractor, site.url("separate", thumbnail=hostile.url("/cover.jpg")), workspace, container=container
    )
    assert (codecs(media.path)[:2], len(covers(media.path)), media.remarks) == (["h264", "aac"], 1, ())


@pytest.mark.parametrize("container", ["mp3", "m4a", "opus", "flac"])
async def test_sound_alone_gets_its_cover_too(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path, container: str
) -> None:
    hostile.routes["/sound.webp"] = sending(picture(tmp_path, "c.webp"))
    url = site.url("separate", thumbnail=hostile.url("/sound.webp"))
    media = await finished(extractor, url, workspace, "audio", container)
    assert (media.ext, len(covers(media.path)), media.remarks) == (container, 1, ())


async def test_a_cover_of_fifty_megapixels_is_made_smaller(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path
) -> None:
    hostile.routes["/huge.jpg"] = sending(picture(tmp_path, "c.jpg", "8660x5774"))
    media = await finished(extractor, site.url("separate", thumbnail=hostile.url("/huge.jpg")), workspace)
    (cover,) = [s for s in probe(media.path)["streams"] if s["disposition"].get("attached_pic")]
    assert (cover["width"], cover["height"]) == (1920, 1280)


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"<html>Sign in</html>", "no picture"), (b"", "nothing"), (b"\xff\xd8\xff\xe0 broken", "cannot be read")],
)
async def test_a_thumbnail_that_is_none_is_left_out_and_said(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, body: bytes, words: str
) -> None:
    hostile.routes["/none.jpg"] = sending(body)
    media = await finished(extractor, site.url("separate", thumbnail=hostile.url("/none.jpg")), workspace)
    assert codecs(media.path) == ["h264", "aac"]
    (remark,) = media.remarks
    assert remark.startswith("the cover was left out: ")
    assert words in remark


async def test_a_file_that_needs_no_conversion_gets_tags_chapters_and_cover(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path
) -> None:
    hostile.routes["/song.png"] = sending(picture(tmp_path, "c.png"))
    url = site.url("tagged", thumbnail=hostile.url("/song.png"))
    media = await finished(extractor, url, workspace, "audio", "m4a")
    found = probe(media.path)
    assert (found["format"]["tags"]["artist"], found["format"]["tags"]["title"]) == ("Band", "Song")
    assert [chapter["tags"]["title"] for chapter in found["chapters"]] == ["One = 1; #", "Two"]
    assert covers(media.path) == ["png"]


# --- containers ---

FORMS = {
    "vp8.webm": ("webm", [*PICTURE, *TONE, "-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libvorbis"]),
    "theora.ogv": ("mkv", [*PICTURE, *TONE, "-c:v", "libtheora", "-c:a", "libvorbis"]),
    "old.wmv": ("mkv", [*PICTURE, *TONE, "-c:v", "wmv2", "-c:a", "wmav2"]),
    "old.flv": ("mkv", [*PICTURE, *TONE, "-c:v", "flv1", "-c:a", "libmp3lame", "-ar", "44100"]),
    "phone.3gp": ("mkv", [*PICTURE, *TONE, "-c:v", "h263", "-s", "176x144", "-c:a", "aac", "-ar", "8000", "-ac", "1"]),
    "camera.mov": ("mkv", [*PICTURE, *TONE, *H264, "-c:a", "pcm_s16le"]),
    "camera.avi": ("mkv", [*PICTURE, *TONE, "-c:v", "mjpeg", "-c:a", "pcm_s16le"]),
    "flac.mkv": ("mkv", [*PICTURE, *TONE, *H264, "-c:a", "flac"]),
    "dvd.mpg": ("mpg", [*PICTURE, *TONE, "-c:v", "mpeg2video", "-c:a", "mp2", "-f", "mpeg"]),
    "sound.wav": ("wav", [*TONE]),
    "sound.mp3": ("mp3", [*TONE]),
    "camera.m2ts": ("mp4", [*PICTURE, *TONE, *H264, "-c:a", "ac3", "-f", "mpegts", "-mpegts_m2ts_mode", "1"]),
    "plain.ts": ("mp4", [*PICTURE, *TONE, *H264, "-c:a", "aac", "-f", "mpegts"]),
    "divx.avi": ("mp4", [*PICTURE, *TONE, "-c:v", "mpeg4", "-c:a", "libmp3lame"]),
}


@pytest.mark.parametrize("name", FORMS)
async def test_the_default_form_takes_every_ordinary_file(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path, name: str
) -> None:
    """What mp4 cannot hold becomes what holds it, from the bytes that were fetched once."""
    ext, arguments = FORMS[name]
    hostile.routes[f"/{name}"] = sending(ffmpeg(tmp_path, *arguments, name))
    url = site.url("file", address=quote(hostile.url(f"/{name}")), ext=name.split(".")[1])
    media = await finished(extractor, url, workspace)
    assert media.ext == ext
    assert sorted(codecs(media.path)) == sorted(codecs(str(tmp_path / name)))
    assert bool(media.remarks) == (ext != "mp4" and not name.startswith("sound"))


@pytest.mark.parametrize("name", ["dvd.mpg", "camera.m2ts", "old.wmv"])
async def test_the_original_form_is_every_file_as_it_comes(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path, name: str
) -> None:
    body = ffmpeg(tmp_path, *FORMS[name][1], name)
    hostile.routes[f"/original-{name}"] = sending(body)
    url = site.url("file", address=quote(hostile.url(f"/original-{name}")), ext=name.split(".")[1])
    media = await finished(extractor, url, workspace, container="original")
    assert (media.ext, Path(media.path).read_bytes()) == (name.split(".")[1], body)


async def test_subtitles_and_fonts_of_matroska_do_not_cost_the_mp4(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.srt").write_text(SRT)
    (tmp_path / "font.ttf").write_bytes(bytes(500))
    attached = ["-attach", "font.ttf", "-metadata:s:t", "mimetype=application/x-truetype-font"]
    body = ffmpeg(tmp_path, *PICTURE, *TONE, "-i", "s.srt", *H264, "-c:a", "aac", "-c:s", "srt", *attached, "anime.mkv")
    hostile.routes["/anime.mkv"] = sending(body)
    url = site.url("file", address=quote(hostile.url("/anime.mkv")), ext="mkv")
    media = await finished(extractor, url, workspace)
    assert (media.ext, subtitles(media.path)) == ("mp4", ["mov_text"])
    assert media.remarks == ("the fonts of the subtitles were left out: only mkv holds them",)


async def test_a_video_without_sound_says_so(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path
) -> None:
    hostile.routes["/silent.mkv"] = sending(ffmpeg(tmp_path, *PICTURE, *H264, "silent.mkv"))
    url = site.url("file", address=quote(hostile.url("/silent.mkv")), ext="mkv")
    media = await finished(extractor, url, workspace)
    assert media.remarks == ("the video has no sound: the site offers none",)


async def test_a_merge_that_lost_half_its_sound_is_no_file(
    extractor: ChildExtractor, site: Site, workspace: Path, tmp_path: Path
) -> None:
    """A source whose bytes end early has no end to be proved by."""
    asked = request(site.url("separate"), workspace)
    extraction = await extractor.extract(asked)
    await asyncio.to_thread(fetch, extraction, workspace)
    sound = workspace / "media.f140.m4a"
    sound.write_bytes(b"\0\0\0\x18ftypM4A \0\0\0\0" + bytes(3_000))
    with pytest.raises(PostprocessFailed):
        await extractor.postprocess(asked, extraction, lambda phase: None)
    assert not list(workspace.glob("result.*"))


async def test_surround_sound_becomes_opus(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path
) -> None:
    """libopus refuses the layout that AC-3 has, 5.1(side)."""
    layout = ["-f", "lavfi", "-i", "anullsrc=channel_layout=5.1(side):duration=1"]
    hostile.routes["/surround.ac3"] = sending(ffmpeg(tmp_path, *layout, "-c:a", "ac3", "surround.ac3"))
    url = site.url("file", address=quote(hostile.url("/surround.ac3")), ext="ac3")
    media = await finished(extractor, url, workspace, "audio", "opus")
    assert (media.ext, codecs(media.path)) == ("opus", ["opus"])


# --- subtitles ---


async def test_subtitles_written_out_in_the_page_are_kept(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    tracks = json.dumps({"en": [{"ext": "srt", "data": SRT}]})
    media = await finished(extractor, site.url("subtitled", subtitles=quote(tracks)), workspace, container="mkv")
    assert (subtitles(media.path), media.remarks) == (["subrip"], ())


async def test_subtitles_for_browsers_are_asked_for_as_one(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/browser.srt"] = sending(SRT.encode())
    tracks = json.dumps({"en": [{"ext": "srt", "url": hostile.url("/browser.srt"), "impersonate": True}]})
    media = await finished(extractor, site.url("subtitled", subtitles=quote(tracks)), workspace)
    (asked,) = hostile.requests("/browser.srt")
    assert subtitles(media.path) == ["mov_text"]
    assert "sec-ch-ua" in {name.lower() for name in asked.headers}


async def test_subtitles_in_pieces_are_joined(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/s.m3u8"] = sending(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\ns0.vtt\n#EXTINF:3,\ns1.vtt\n#EXT-X-ENDLIST\n"
    )
    hostile.routes["/s0.vtt"] = sending(b"WEBVTT\n\n00:00.000 --> 00:02.000\nOne\n")
    hostile.routes["/s1.vtt"] = sending(b"WEBVTT\n\n00:03.000 --> 00:05.000\nTwo\n")
    track = {"ext": "vtt", "url": hostile.url("/s.m3u8"), "protocol": "m3u8_native"}
    url = site.url("subtitled", subtitles=quote(json.dumps({"en": [track]})))
    media = await finished(extractor, url, workspace, container="mkv")
    assert media.remarks == ()
    text = ffmpeg(workspace, "-i", media.path, "-map", "0:s:0", "out.srt").decode()
    assert "One" in text
    assert re.search(r"00:00:03,0\d\d --> 00:00:05,0\d\d\nTwo", text)


async def test_subtitles_of_an_old_windows_are_read(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/old.srt"] = sending(SRT.replace("Hello", "Héllo").encode("cp1252"))
    tracks = json.dumps({"en": [{"ext": "srt", "url": hostile.url("/old.srt")}]})
    media = await finished(extractor, site.url("subtitled", subtitles=quote(tracks)), workspace, container="mkv")
    assert "Héllo" in ffmpeg(workspace, "-i", media.path, "-map", "0:s:0", "out.srt").decode()


async def test_subtitles_that_are_a_page_are_left_out_and_said(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/page.srt"] = page("<html>Sign in</html>")
    tracks = json.dumps({"en": [{"ext": "srt", "url": hostile.url("/page.srt")}]})
    media = await finished(extractor, site.url("subtitled", subtitles=quote(tracks)), workspace)
    assert media.remarks == ("the subtitles in en were left out: what the site sent are no subtitles",)


# --- the sound that was chosen ---


@pytest.mark.parametrize("container", ["m4a", "mp3", "opus", "flac", "original"])
async def test_a_chosen_sound_is_that_sound_in_every_container(
    extractor: ChildExtractor, site: Site, workspace: Path, container: str
) -> None:
    extraction = await extractor.extract(request(site.url("dubbed"), workspace, "dub", container))
    assert [stream.format_id for stream in extraction.streams] == ["dub"]


async def test_the_playlists_own_sound_is_chosen(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    names = ("English", "Français", "हिन्दी")
    sounds = "".join(
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="{name}",LANGUAGE="{name[:2].lower()}",URI="{number}.m3u8"'
        + (",DEFAULT=YES" if number == 0 else "")
        + "\n"
        for number, name in enumerate(names)
    )
    main = f'#EXTM3U\n{sounds}#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=64x64,CODECS="avc1.42c01e,mp4a.40.2",AUDIO="a"\nv.m3u8\n'
    hostile.routes["/names.m3u8"] = sending(main.encode())
    url = f"http://{site.origin.address}/vasset-test/hls?media={hostile.url('/')}&name=names.m3u8"
    extraction = await extractor.extract(request(url, workspace))
    assert [stream.url for stream in extraction.streams] == [hostile.url("/v.m3u8"), hostile.url("/0.m3u8")]


# --- the disk ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, timeout=10
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount a filesystem")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True, timeout=10)


@pytest.mark.parametrize("free", [400_000, 20_000, 0])
async def test_a_disk_that_fills_up_while_the_file_is_made_says_so(
    extractor: ChildExtractor, site: Site, small_disk: Path, free: int
) -> None:
    asked = request(site.url("separate"), small_disk)
    extraction = await extractor.extract(asked)
    fetch(extraction, small_disk)
    before = {path.name: path.read_bytes() for path in small_disk.glob("media.f*")}
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        left = subprocess.run(["stat", "-f", "-c", "%a %S", small_disk], capture_output=True, text=True, check=True)
        blocks, size = map(int, left.stdout.split())
        file.write(bytes(max(0, blocks * size - free)))
    with pytest.raises(DiskFull, match="disk filled up"):
        await extractor.postprocess(asked, extraction, lambda phase: None)
    assert {path.name: path.read_bytes() for path in small_disk.glob("media.f*")} == before
    assert not list(small_disk.glob("result.*"))
    filler.unlink()
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert codecs(media.path) == ["h264", "aac"]


async def test_a_file_that_outgrows_the_bound_is_not_called_complete(
    guard: GuardProxy, site: Site, workspace: Path
) -> None:
    """RLIMIT_FSIZE: the copy ends in the middle, and ffmpeg is content."""
    async with open_extractor(guard, ExtractorOptions(plugins=PLUGINS, max_file_bytes=300_000)) as bounded:
        asked = request(site.url("separate"), workspace)
        extraction = await bounded.extract(asked)
        fetch(extraction, workspace)
        with pytest.raises(DiskFull, match="larger than a file may be"):
            await bounded.postprocess(asked, extraction, lambda phase: None)
    assert not list(workspace.glob("result.*"))
