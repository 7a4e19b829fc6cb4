"""Both phases against a real origin, real yt-dlp and real ffmpeg; the engine's part is done by hand."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from tests.support.extraction import Site, codecs, fetch, natively, probe, request, sending
from tests.support.lying_origin import LyingOrigin, page
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.domain.download import Phase
from vasset.domain.errors import InvalidInput, PostprocessFailed, UnavailableFormat, UnsupportedSite
from vasset.domain.ports import TransferSnapshot

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]


async def test_separate_video_and_audio_become_one_file_with_title_and_chapters(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("separate"), workspace)
    extraction = await extractor.extract(asked)
    assert [stream.file_name for stream in extraction.streams] == ["media.f137.mp4", "media.f140.m4a"]
    assert {stream.kind for stream in extraction.streams} == {"file"}
    assert extraction.finished_ext is None
    assert extraction.estimated_bytes == 600_000 + 72_000
    fetch(extraction, workspace)
    phases: list[Phase] = []
    media = await extractor.postprocess(asked, extraction, phases.append)
    assert Path(media.path).parent == workspace
    assert (media.ext, media.duration_seconds) == ("mp4", 6.0)
    assert phases == [Phase.MERGING, Phase.POSTPROCESSING]
    assert codecs(media.path) == ["h264", "aac"]
    found = probe(media.path)
    assert found["format"]["tags"]["title"] == "Test video separate"
    assert [chapter["tags"]["title"] for chapter in found["chapters"]] == ["One", "Two"]


async def test_post_processing_asks_the_origin_for_nothing(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("separate"), workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    before = site.access_log.read_text().count("\n")
    await extractor.postprocess(asked, extraction, lambda phase: None)
    assert site.access_log.read_text().count("\n") == before


async def test_post_processing_never_fetches_a_stream_that_is_missing(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("separate"), workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    (workspace / "media.f140.m4a").unlink()
    before = site.requests_for("audio_only.m4a")
    with pytest.raises(PostprocessFailed, match="missing"):
        await extractor.postprocess(asked, extraction, lambda phase: None)
    assert site.requests_for("audio_only.m4a") == before


async def test_a_progressive_file_is_finished_as_the_site_serves_it(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("progressive"), workspace)
    extraction = await extractor.extract(asked)
    (stream,) = extraction.streams
    assert (stream.kind, stream.file_name, stream.max_range_bytes) == ("file", "media.mp4", 10 << 20)
    assert stream.headers["User-Agent"]
    assert extraction.finished_ext == "mp4"
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert Path(media.path) == workspace / "media.mp4"
    assert Path(media.path).read_bytes() == site.origin.media.read("progressive.mp4")


async def test_a_plain_page_with_a_video_element_is_enough(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    url = site.origin.url("progressive_webm.html")
    info = await extractor.describe(url)
    assert (info.kind, info.title.startswith("A plain page")) == ("single", True)
    extraction = await extractor.extract(request(url, workspace, container="webm"))
    assert extraction.finished_ext == "webm"
    assert extraction.streams[0].url == site.origin.url("progressive.webm")


@pytest.mark.parametrize(("container", "codec"), [("mp3", "mp3"), ("m4a", "aac"), ("opus", "opus"), ("flac", "flac")])
async def test_audio_is_taken_out_and_converted(
    extractor: ChildExtractor, site: Site, workspace: Path, container: str, codec: str
) -> None:
    asked = request(site.url("separate"), workspace, "audio", container)
    extraction = await extractor.extract(asked)
    assert [stream.format_id for stream in extraction.streams] == ["140"]
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert (media.ext, codecs(media.path)) == (container, [codec])


@pytest.mark.parametrize("container", ["mkv", "original"])
async def test_a_container_is_kept_or_made_without_conversion(
    extractor: ChildExtractor, site: Site, workspace: Path, container: str
) -> None:
    asked = request(site.url("separate"), workspace, container=container)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert media.ext == {"mkv": "mkv", "original": "mp4"}[container]
    assert codecs(media.path) == ["h264", "aac"]


async def test_dash_is_an_explicit_list_of_fragments(extractor: ChildExtractor, site: Site, workspace: Path) -> None:
    asked = request(site.url("dash"), workspace)
    extraction = await extractor.extract(asked)
    assert [stream.kind for stream in extraction.streams] == ["fragments", "fragments"]
    assert all(len(stream.fragments) > 5 for stream in extraction.streams)
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert codecs(media.path) == ["h264", "aac"]


async def test_hls_goes_to_the_engine_or_to_yt_dlp_itself(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("hls"), workspace)
    extraction = await extractor.extract(asked)
    assert [(stream.kind, stream.file_name) for stream in extraction.streams] == [("hls", "media.mp4")]
    extraction = natively(extraction)
    seen: list[TransferSnapshot] = []
    await extractor.download_native(asked, extraction, seen.append)
    assert seen
    assert (workspace / "media.mp4").read_bytes()[:1] == b"G"  # MPEG-TS, as it comes
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert codecs(media.path) == ["h264", "aac"]
    assert Path(media.path).read_bytes()[4:8] == b"ftyp"


async def test_native_download_leaves_what_is_complete_alone(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("hls"), workspace)
    extraction = natively(await extractor.extract(asked))
    await extractor.download_native(asked, extraction, lambda snapshot: None)
    before = site.requests_for("part000.ts")
    await extractor.download_native(asked, extraction, lambda snapshot: None)
    assert site.requests_for("part000.ts") == before


async def test_subtitles_and_cover_are_embedded(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, tmp_path: Path
) -> None:
    hostile.routes["/cover.jpg"] = sending(_picture(tmp_path))
    hostile.routes["/en.vtt"] = sending(b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello\n")
    url = site.url("separate", thumbnail=hostile.url("/cover.jpg"), subtitle=hostile.url("/en.vtt"))
    asked = request(url, workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    found = probe(media.path)["streams"]
    assert [stream["codec_name"] for stream in found if stream["codec_type"] == "subtitle"] == ["mov_text"]
    assert [stream["codec_name"] for stream in found if stream["disposition"].get("attached_pic")] == ["mjpeg"]


async def test_subtitles_nobody_wants_are_left_out(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/unwanted.vtt"] = sending(b"WEBVTT\n\n00:00.000 --> 00:02.000\nHello\n")
    asked = request(site.url("separate", subtitle=hostile.url("/unwanted.vtt")), workspace, with_subtitles=False)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert "subtitle" not in {stream["codec_type"] for stream in probe(media.path)["streams"]}
    assert hostile.requests("/unwanted.vtt") == []


async def test_subtitles_and_cover_that_cannot_be_had_cost_nobody_the_video(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/not.vtt"] = page("<html>Sign in</html>")
    url = site.url("separate", thumbnail=hostile.url("/404.jpg"), subtitle=hostile.url("/not.vtt"))
    asked = request(url, workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert codecs(media.path) == ["h264", "aac"]


async def test_post_processing_may_be_repeated_after_it_was_cancelled(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    asked = request(site.url("separate"), workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    before = {path.name: path.read_bytes() for path in workspace.glob("media.f*")}
    merging = asyncio.Event()
    first = asyncio.ensure_future(extractor.postprocess(asked, extraction, lambda phase: merging.set()))
    await asyncio.wait_for(merging.wait(), 20)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert {path.name: path.read_bytes() for path in workspace.glob("media.f*")} == before
    media = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert codecs(media.path) == ["h264", "aac"]


async def test_a_playlist_is_read_a_page_at_a_time(extractor: ChildExtractor, site: Site, tmp_path: Path) -> None:
    note = tmp_path / "last"
    info = await extractor.describe(site.url("long", note=str(note)))
    assert (info.kind, len(info.entries), info.entry_count) == ("playlist", 50, 5000)
    assert (info.entries[0].url, info.entries[-1].title) == ("http://example.com/watch/1", "Video 50")
    assert int(note.read_text()) <= 51
    last = await extractor.describe(site.url("long"), playlist_page=100)
    assert (last.entries[-1].url, len(last.entries)) == ("http://example.com/watch/5000", 50)
    beyond = await extractor.describe(site.url("long"), playlist_page=101)
    assert beyond.entries == ()


async def test_an_endless_playlist_costs_one_page(extractor: ChildExtractor, site: Site) -> None:
    info = await extractor.describe(site.url("endless"))
    assert (len(info.entries), info.entry_count) == (50, None)


async def test_a_playlist_is_not_downloaded_as_a_whole(extractor: ChildExtractor, site: Site, workspace: Path) -> None:
    with pytest.raises(UnsupportedSite, match="playlist"):
        await extractor.extract(request(site.url("long"), workspace))


async def test_each_of_two_players_on_one_page_can_be_downloaded(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    players = "".join(
        f'<video src="{site.origin.url(name)}"></video>' for name in ("progressive.mp4", "progressive.webm")
    )
    hostile.routes["/two.html"] = page(f"<!doctype html><title>Two</title>{players}")
    info = await extractor.describe(hostile.url("/two.html"))
    assert (info.kind, len(info.entries)) == ("playlist", 2)
    extraction = await extractor.extract(request(info.entries[1].url, workspace, container="original"))
    assert extraction.streams[0].url == site.origin.url("progressive.webm")


async def test_formats_sizes_and_a_short_list_are_described(extractor: ChildExtractor, site: Site) -> None:
    info = await extractor.describe(site.url("separate"))
    assert (info.site, info.duration_seconds, info.extractor_version) == ("VassetTest", 6.0, extractor.version)
    sizes = {form.id: (form.size_bytes, form.size_is_estimate) for form in info.formats}
    assert sizes == {"140": (72_000, True), "137": (600_000, True)}
    assert [(choice.quality, choice.size_bytes) for choice in info.qualities] == [
        ("best", 672_000),
        ("360p", 672_000),
        ("audio", 72_000),
    ]


async def test_the_original_language_is_chosen(extractor: ChildExtractor, site: Site, workspace: Path) -> None:
    extraction = await extractor.extract(request(site.url("dubbed"), workspace))
    assert [stream.format_id for stream in extraction.streams] == ["137", "140"]


@pytest.mark.parametrize(("quality", "container"), [("999", "mp4"), ("best", "webm"), ("all", "mp4")])
async def test_a_format_that_does_not_exist_is_named_so(
    extractor: ChildExtractor, site: Site, workspace: Path, quality: str, container: str
) -> None:
    with pytest.raises(UnavailableFormat):
        await extractor.extract(request(site.url("separate"), workspace, quality, container))


async def test_an_expression_is_not_a_format(extractor: ChildExtractor, site: Site, workspace: Path) -> None:
    with pytest.raises(InvalidInput):
        await extractor.extract(request(site.url("separate"), workspace, "bestvideo[height<="))


def _picture(folder: Path) -> bytes:
    path = folder / "cover.jpg"
    command = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc2=size=64x64:duration=0.1",
        "-frames:v",
        "1",
    ]
    subprocess.run([*command, str(path)], check=True, timeout=30)
    return path.read_bytes()
