"""What a hostile page, origin or user tries, and what must not happen (P8, P9, P23; S80–S120; reliability §3 row 17)."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.extraction import PLUGINS, Canary, Site, fetch, natively, redirecting, request, sending
from tests.support.lying_origin import LyingOrigin, page
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.domain.errors import (
    EgressRefused,
    ExtractionFailed,
    InvalidUrl,
    PostprocessFailed,
    TransferFailed,
    UnsupportedSite,
    VAssetError,
)
from vasset.telemetry.log import configure_logging

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]

LOOPBACK = (
    "127.0.0.1", "localhost", "localhost.", "127.1", "2130706433", "0x7f000001", "017700000001", "0", "[::1]", "[::ffff:127.0.0.1]",
    "127。0。0。1", "a.localhost", "[::ffff:7f00:1]",
)  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "FILE:/etc/passwd", "ftp://127.0.0.1/", "data:text/plain,hi", "gopher://127.0.0.1:6379/_", "rtmp://h/a",
        "rtsp://h/a", "concat:a|b", "subfile,,start,0,end,9,,:/etc/passwd", "pipe:0", "tcp://127.0.0.1:6379", "unix:/run/x",
        "ytsearch100000:x", "--batch-file=/etc/passwd", "--exec=id", "-o/tmp/x",
    ],
)  # fmt: skip
async def test_only_web_addresses_are_read(extractor: ChildExtractor, url: str) -> None:
    with pytest.raises(InvalidUrl):
        await extractor.describe(url)


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("browser", ["", "1"])
async def test_no_spelling_of_loopback_is_reached_from_inside_a_page(
    extractor: ChildExtractor, site: Site, canary: Canary, host: str, browser: str
) -> None:
    target = quote(f"http://{host}:{canary.port}/secret", safe="")
    with pytest.raises((EgressRefused, ExtractionFailed)):
        await extractor.describe(site.url("fetch", target=target, browser=browser))
    assert canary.hits == []


@pytest.mark.parametrize("browser", ["", "1"])
@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "https://127.0.0.1:{port}/"]
)
async def test_a_refused_address_is_called_that(
    extractor: ChildExtractor, site: Site, canary: Canary, target: str, browser: str
) -> None:
    url = site.url("fetch", target=quote(target.format(port=canary.port), safe=""), browser=browser)
    with pytest.raises(EgressRefused) as refused:
        await extractor.describe(url)
    assert "169.254" not in refused.value.message
    assert canary.hits == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1:{port}/", "data:text/html,x", "ws://127.0.0.1:{port}/"]
)
async def test_a_page_leads_to_no_other_scheme(
    extractor: ChildExtractor, site: Site, canary: Canary, target: str
) -> None:
    with pytest.raises(ExtractionFailed, match="neither http nor https"):
        await extractor.describe(site.url("fetch", target=quote(target.format(port=canary.port), safe="")))
    assert canary.hits == []


@pytest.mark.parametrize("browser", ["", "1"])
@pytest.mark.parametrize("scheme", ["http://127.0.0.1:{port}/", "file:///etc/passwd", "ftp://127.0.0.1:{port}/"])
async def test_a_redirect_is_checked_like_a_first_address(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, canary: Canary, scheme: str, browser: str
) -> None:
    hostile.routes["/hop"] = redirecting(scheme.format(port=canary.port))
    with pytest.raises((EgressRefused, ExtractionFailed)):
        await extractor.describe(site.url("fetch", target=quote(hostile.url("/hop"), safe=""), browser=browser))
    assert canary.hits == []


async def test_redirects_end(extractor: ChildExtractor, site: Site, hostile: LyingOrigin) -> None:
    hostile.routes["/loop"] = redirecting(hostile.url("/loop"))
    before = len(hostile.requests("/loop"))
    with pytest.raises(ExtractionFailed):
        await extractor.describe(site.url("fetch", target=quote(hostile.url("/loop"), safe="")))
    assert len(hostile.requests("/loop")) - before <= 100


async def test_the_parent_s_no_proxy_opens_no_way_around_the_guard(
    guard: GuardProxy, site: Site, canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1,localhost,*")
    async with open_extractor(guard, ExtractorOptions(plugins=PLUGINS)) as opened:
        for browser in ("", "1"):
            target = quote(f"http://127.0.0.1:{canary.port}/", safe="")
            with pytest.raises(EgressRefused):
                await opened.describe(site.url("fetch", target=target, browser=browser))
    assert canary.hits == []


async def test_a_submitted_internal_address_is_refused(extractor: ChildExtractor, canary: Canary) -> None:
    with pytest.raises(EgressRefused):
        await extractor.describe(f"http://127.0.0.1:{canary.port}/video.mp4")
    assert canary.hits == []


async def test_an_internal_cover_or_subtitle_is_left_out(
    extractor: ChildExtractor, site: Site, canary: Canary, workspace: Path
) -> None:
    inside = f"http://127.0.0.1:{canary.port}"
    url = site.url("separate", thumbnail=f"{inside}/c.jpg", subtitle=f"{inside}/e.vtt")
    asked = request(url, workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    assert (await extractor.postprocess(asked, extraction, lambda phase: None)).ext == "mp4"
    assert canary.hits == []


@pytest.mark.parametrize("line", ["http://127.0.0.1:{port}/s.ts", "#EXT-X-KEY:METHOD=AES-128,URI=\"http://127.0.0.1:{port}/k\"\n#EXTINF:1,\nx.ts", "file:///etc/passwd"])  # fmt: skip
async def test_a_playlist_that_names_internal_addresses_reaches_none_natively(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, canary: Canary, workspace: Path, line: str
) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{line.format(port=canary.port)}\n#EXT-X-ENDLIST\n"
    hostile.routes["/bad.m3u8"] = sending(playlist.encode())
    asked = request(site.url("playlist", address=hostile.url("/bad.m3u8")), workspace)
    extraction = natively(await extractor.extract(asked))
    with pytest.raises((EgressRefused, TransferFailed, ExtractionFailed, PostprocessFailed)):
        await extractor.download_native(asked, extraction, lambda snapshot: None)
    assert canary.hits == []
    assert not [path for path in workspace.rglob("*") if path.is_file() and b"root:" in path.read_bytes()]


@pytest.mark.parametrize(
    "disguise",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{canary}\n#EXT-X-ENDLIST\n",
        b"\xef\xbb\xbf#EXTM3U\n#EXTINF:6,\n{canary}\n",
        b"ffconcat version 1.0\nfile '{canary}'\n",
        b"<html><title>Sign in</title></html>",
        b"",
    ],
)
@pytest.mark.parametrize("case", ["progressive", "separate"])
async def test_no_disguise_makes_ffmpeg_read_another_user_s_file(
    extractor: ChildExtractor, site: Site, workspace: Path, tmp_path: Path, disguise: bytes, case: str
) -> None:
    secret = tmp_path / "archive" / "canary.ts"
    secret.parent.mkdir()
    secret.write_bytes((site.origin.media.folder / "hls" / "part000.ts").read_bytes())
    asked = request(site.url(case), workspace, container="mkv")
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    (workspace / extraction.streams[0].file_name).write_bytes(disguise.replace(b"{canary}", str(secret).encode()))
    with pytest.raises(PostprocessFailed):
        await extractor.postprocess(asked, extraction, lambda phase: None)
    assert not [path for path in workspace.iterdir() if path.name.startswith("result")]


async def test_a_web_page_served_as_a_finished_video_is_refused(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path
) -> None:
    asked = request(site.url("progressive"), workspace)
    extraction = await extractor.extract(asked)
    (workspace / "media.mp4").write_bytes(b"<!doctype html><title>Sign in</title>")
    with pytest.raises(PostprocessFailed, match="other than video"):
        await extractor.postprocess(asked, extraction, lambda phase: None)


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:{port}/x.mp4", "tcp://127.0.0.1:{port}", "rtsp://127.0.0.1:{port}/x"]
)
async def test_ffmpeg_itself_is_never_started_on_the_network(
    extractor: ChildExtractor, canary: Canary, workspace: Path, name: str
) -> None:
    for program in ("ffmpeg", "ffprobe"):
        process = await asyncio.create_subprocess_exec(
            str(extractor.pool.settings.programs / program), "-i", name.format(port=canary.port),
            cwd=workspace, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, words = await asyncio.wait_for(process.communicate(), 20)
        assert (process.returncode, b"was not started" in words) == (98, True)
    assert canary.hits == []


@pytest.mark.parametrize(
    ("case", "kind"), [("offline", "not_live"), ("geo", "geo_blocked"), ("fail", "login_required")]
)
async def test_a_failure_has_a_kind_and_words_of_ours(
    extractor: ChildExtractor, site: Site, workspace: Path, case: str, kind: str
) -> None:
    with pytest.raises(ExtractionFailed) as failed:
        await extractor.extract(request(site.url(case, words="please+log+in+canary-secret-9"), workspace))
    assert failed.value.kind == kind
    assert "canary-secret-9" not in failed.value.message


async def test_a_page_without_video_is_unsupported(extractor: ChildExtractor, hostile: LyingOrigin) -> None:
    hostile.routes["/words.html"] = page("<!doctype html><title>Words</title><p>Only words.")
    with pytest.raises(UnsupportedSite):
        await extractor.describe(hostile.url("/words.html"))


async def test_what_children_print_passes_through_redaction(extractor: ChildExtractor, site: Site) -> None:
    printed = io.StringIO()
    configure_logging(format="json", level="debug", stream=printed)
    try:
        words = quote("https://cdn.example/v.mp4?sig=c4n4ry-S3cr3t Authorization: Bearer c4n4ry-S3cr3t", safe="")
        await extractor.describe(site.url("warn", words=words))
        async with asyncio.timeout(10):
            while "cdn.example" not in printed.getvalue():
                await asyncio.sleep(0.01)
    finally:
        configure_logging(format="console", level="info")
    assert "c4n4ry-S3cr3t" not in printed.getvalue()


async def test_a_child_cannot_be_talked_into_nonsense(extractor: ChildExtractor, site: Site) -> None:
    with pytest.raises(VAssetError):
        await extractor.describe("http://" + "a" * 300 + ".invalid/")


CONFINED = """
import subprocess, sys
from vasset.adapters.extract.child import limits
limits.confine(memory_mib=256, max_file_bytes=2**30)
limits.allow_cpu_seconds(60)
for command in ([sys.argv[1] + "/deno", "run", "--no-prompt", "--no-remote", "--ext=js", "-"], [sys.argv[1] + "/ffmpeg", "-version"]):
    subprocess.run(command, input=b"console.log(1+41)", check=True, timeout=60, env={"PATH": sys.argv[1], "DENO_DIR": "/nonexistent"})
"""


async def test_deno_and_ffmpeg_run_within_a_child_s_limits(extractor: ChildExtractor, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONFINED, str(extractor.pool.settings.programs),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, complaint = await asyncio.wait_for(process.communicate(), 90)
    assert (process.returncode, complaint) == (0, b"")
    assert printed.startswith(b"42\n")
