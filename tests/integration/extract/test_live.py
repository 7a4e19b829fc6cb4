"""Live streams through a real child, the guard and a real sliding window."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from tests.support.extraction import Canary, Site, codecs, probe, request
from tests.support.live_stream import LiveStream, read_all, transport_segments
from tests.support.lying_origin import Answer, Asked, LyingOrigin, honest
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.domain.errors import EgressRefused, ExtractionFailed, Overloaded, UnsupportedSite, VAssetError
from vasset.domain.media import Extraction
from vasset.domain.ports import ExtractionRequest, TransferSnapshot

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]


@pytest.fixture
def stream(hostile: LyingOrigin, site: Site, tmp_path: Path) -> LiveStream:
    return LiveStream(hostile, transport_segments(site.origin.media), tmp_path.name)


class Recording:
    """A recording under way; ``bytes`` is what its last event told."""

    def __init__(self, extractor: ChildExtractor, asked: ExtractionRequest, extraction: Extraction, **bounds: float):
        self.seen: list[TransferSnapshot] = []
        bounds = {"seconds": 60.0, "max_bytes": 2**30} | bounds
        self.task = asyncio.ensure_future(extractor.record(asked, extraction, self.seen.append, **bounds))  # type: ignore[arg-type]

    async def over(self) -> bool:
        async with asyncio.timeout(30):
            return await self.task

    async def killed(self) -> None:
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def recorded(extractor: ChildExtractor, asked: ExtractionRequest, **bounds: float) -> AsyncIterator[Recording]:
    extraction = await extractor.extract(asked)
    assert extraction.is_live
    assert {each.kind for each in extraction.streams} == {"native"}
    recording = Recording(extractor, asked, extraction, **bounds)
    try:
        yield recording
    finally:
        recording.task.cancel()
        await asyncio.gather(recording.task, return_exceptions=True)


async def finished(extractor: ChildExtractor, asked: ExtractionRequest) -> Path:
    """Phase two of what was recorded."""
    extraction = await extractor.extract(asked)
    return Path((await extractor.postprocess(asked, extraction, lambda phase: None)).path)


async def test_a_stream_is_recorded_from_its_window_to_its_end(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked) as recording:
        await stream.air(len(stream.segments) - 3)
        stream.end()
        assert await recording.over()
    assert stream.listed_first[-1] > 0, "the window never slid"
    assert (workspace / "media.mp4").read_bytes() == stream.everything
    assert [told.total_bytes for told in recording.seen] == [None] * len(recording.seen)
    path = await finished(extractor, asked)
    assert (path.read_bytes()[4:8], codecs(str(path))) == (b"ftyp", ["h264", "aac"])
    assert abs(float(probe(str(path))["format"]["duration"]) - 6) < 0.5


async def test_its_user_ends_it_and_gets_what_was_recorded(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    asked = request(site.url("live", address=stream.url), workspace, container="mkv")
    async with recorded(extractor, asked) as recording:
        await stream.air()
        extractor.finish_recording(workspace)
        assert await recording.over()
    whole = [b"".join(stream.segments[:count]) for count in (3, 4)]  # the fourth may have been on its way
    assert (workspace / "media.mp4").read_bytes() in whole
    path = await finished(extractor, asked)
    assert (path.suffix, codecs(str(path))) == (".mkv", ["h264", "aac"])


@pytest.mark.parametrize("bounds", [{"seconds": 1.0}, {"max_bytes": 1}])
async def test_a_bound_ends_it_and_leaves_a_file(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path, bounds: dict[str, float]
) -> None:
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked, **bounds) as recording:
        assert await recording.over()
    assert stream.everything.startswith((workspace / "media.mp4").read_bytes())
    assert codecs(str(await finished(extractor, asked))) == ["h264", "aac"]


async def test_a_segment_too_large_for_the_bound_ends_it_before(
    guard: GuardProxy, stream: LiveStream, site: Site, workspace: Path, plugins: Path
) -> None:
    room = int(
        1.2 * (len(stream.segments[0]) + len(stream.segments[1]))
    )  # nine tenths of it are not reached by two, all of it is by three
    async with open_extractor(guard, ExtractorOptions(plugins=plugins, max_file_bytes=room)) as extractor:
        asked = request(site.url("live", address=stream.url), workspace)
        async with recorded(extractor, asked) as recording:
            assert await recording.over()
    assert (workspace / "media.mp4").read_bytes() == b"".join(stream.segments[:2])


async def test_a_killed_recording_goes_on_behind_its_last_whole_segment(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked) as recording:
        await stream.air()
        await recording.killed()
    with (workspace / "media.mp4.part").open("ab") as part:
        part.write(b"half a segment")
    async with recorded(extractor, asked) as recording:
        await stream.air()
        stream.end()
        assert await recording.over()
    assert (workspace / "media.mp4").read_bytes() == b"".join(stream.segments[:5])


async def test_a_stream_that_ended_while_nobody_recorded_is_what_was_recorded(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path, tmp_path: Path
) -> None:
    off_air = tmp_path / "off-air"
    asked = request(site.url("live", address=stream.url, note=str(off_air)), workspace)
    async with recorded(extractor, asked) as recording:
        await stream.air()
        await recording.killed()
    off_air.touch()
    stream.status = "404 Not Found"
    async with recorded(extractor, asked) as recording:
        assert await recording.over()
    assert stream.everything.startswith((workspace / "media.mp4").read_bytes())
    assert codecs(str(await finished(extractor, asked))) == ["h264", "aac"]


async def test_addresses_that_stop_answering_are_asked_of_the_page_anew(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked) as recording:
        await stream.fetched(2)
        stream.status = "403 Forbidden"
        assert not await recording.over()
    stream.status = "200 OK"
    async with recorded(extractor, asked) as recording:
        await stream.air()
        stream.end()
        assert await recording.over()
    assert (workspace / "media.mp4").read_bytes() == b"".join(stream.segments[:4])


async def test_a_segment_that_is_gone_is_a_gap(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    del stream.origin.routes[f"/{stream.name}/1"]
    stream.end()
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked) as recording:
        assert await recording.over()
    assert (workspace / "media.mp4").read_bytes() == stream.segments[0] + stream.segments[2]


async def test_fragmented_mp4_gets_its_head_once(
    extractor: ChildExtractor, hostile: LyingOrigin, site: Site, workspace: Path, tmp_path: Path
) -> None:
    dash = site.origin.media.folder / "dash"
    stream = LiveStream(
        hostile, read_all(dash, "chunk-stream0-*.m4s"), tmp_path.name, head=read_all(dash, "init-stream0.m4s")[0]
    )
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked) as recording:
        await stream.air(2)
        stream.end()
        assert await recording.over()
    assert stream.head is not None
    assert (workspace / "media.mp4").read_bytes() == stream.head + b"".join(stream.segments[:5])
    assert codecs(str(await finished(extractor, asked))) == ["h264"]


async def test_separate_picture_and_sound_are_recorded_side_by_side(
    extractor: ChildExtractor, hostile: LyingOrigin, site: Site, workspace: Path, tmp_path: Path
) -> None:
    dash = site.origin.media.folder / "dash"
    picture, sound = (
        LiveStream(
            hostile,
            read_all(dash, f"chunk-stream{number}-*.m4s")[:5],
            f"{tmp_path.name}-{number}",
            head=read_all(dash, f"init-stream{number}.m4s")[0],
        )
        for number in (0, 1)
    )
    asked = request(site.url("live", address=picture.url, audio=sound.url), workspace)
    async with recorded(extractor, asked) as recording:
        await asyncio.gather(picture.air(), sound.air())
        picture.end()
        sound.end()
        assert await recording.over()
    path = await finished(extractor, asked)
    assert codecs(str(path)) == ["h264", "aac"]


async def test_an_encrypted_stream_is_decrypted_segment_by_segment(
    extractor: ChildExtractor, hostile: LyingOrigin, site: Site, workspace: Path, tmp_path: Path
) -> None:
    plain = transport_segments(site.origin.media)[:3]
    key = bytes(range(16))
    stream = LiveStream(
        hostile, [encrypted(body, key, number) for number, body in enumerate(plain)], tmp_path.name,
        has_ended=True, key_line='#EXT-X-KEY:METHOD=AES-128,URI="key"',
    )  # fmt: skip
    hostile.routes[f"/{stream.name}/key"] = honest(key)
    asked = request(site.url("live", address=stream.url), workspace)
    async with recorded(extractor, asked) as recording:
        assert await recording.over()
    assert (workspace / "media.mp4").read_bytes() == b"".join(plain)


async def test_a_protected_stream_is_named_as_such(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    stream.key_line = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"'
    asked = request(site.url("live", address=stream.url), workspace)
    with pytest.raises(ExtractionFailed) as failed:
        async with recorded(extractor, asked) as recording:
            await recording.over()
    assert failed.value.kind == "drm"


async def test_segments_on_a_private_address_are_not_fetched(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path, canary: Canary
) -> None:
    stream.key_line = f'#EXT-X-MAP:URI="http://127.0.0.1:{canary.port}/head"'
    asked = request(site.url("live", address=stream.url), workspace)
    with pytest.raises(EgressRefused):
        async with recorded(extractor, asked) as recording:
            await recording.over()
    assert canary.hits == []


async def test_one_more_recording_than_there_is_room_for_is_refused_at_once(
    guard: GuardProxy, stream: LiveStream, site: Site, tmp_path: Path, plugins: Path
) -> None:
    options = ExtractorOptions(plugins=plugins, timeout_seconds=30.0, live_children=1)
    async with open_extractor(guard, options) as extractor:
        first, second = tmp_path / "first", tmp_path / "second"
        for folder in (first, second):
            folder.mkdir()
        url = site.url("live", address=stream.url)
        async with recorded(extractor, request(url, first)) as one:
            await stream.fetched(2)
            with pytest.raises(Overloaded, match="recorded already"):
                async with recorded(extractor, request(url, second)) as other:
                    await other.over()
            stream.end()
            assert await one.over()


async def test_a_radio_station_is_recorded_until_it_hangs_up(
    extractor: ChildExtractor, hostile: LyingOrigin, site: Site, workspace: Path
) -> None:
    song = transport_segments(site.origin.media)[0]

    async def play(asked: Asked, answer: Answer) -> None:
        await answer.head("200 OK", Content_Type="video/mp2t")
        await answer.body(song)

    hostile.routes["/radio"] = play
    asked = request(site.url("live", address=hostile.url("/radio"), protocol="http", ext="ts"), workspace)
    async with recorded(extractor, asked) as recording:
        assert await recording.over()
    assert (workspace / "media.ts").read_bytes() == song


async def test_websocket_messages_pass_the_guard_and_become_the_file(
    site: Site, workspace: Path, plugins: Path
) -> None:
    pieces = transport_segments(site.origin.media)

    async def send(connection: ServerConnection) -> None:
        for piece in pieces:
            await connection.send(piece)

    async with serve_websocket(send, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        asked = request(site.url("live", address=f"ws://{address}/", protocol="websocket_frag", ext="ts"), workspace)
        with GuardProxy(egress_allow=[site.origin.address, address]) as guard:
            async with (
                open_extractor(guard, ExtractorOptions(plugins=plugins)) as extractor,
                recorded(extractor, asked) as one,
            ):
                assert await one.over()
        assert (workspace / "media.ts").read_bytes() == b"".join(pieces)
        for left in workspace.iterdir():
            left.unlink()
        with GuardProxy(egress_allow=[site.origin.address]) as guard:
            async with open_extractor(guard, ExtractorOptions(plugins=plugins)) as extractor:
                with pytest.raises(EgressRefused):
                    async with recorded(extractor, asked) as one:
                        await one.over()


async def test_a_protocol_nobody_here_speaks_is_named(extractor: ChildExtractor, site: Site, workspace: Path) -> None:
    url = site.url("browser", address="rtmp://media.example/live")
    with pytest.raises(UnsupportedSite, match="over rtmp only"):
        await extractor.extract(request(url, workspace))


async def test_what_has_not_begun_is_refused_with_its_time(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    for attempt in (
        extractor.describe(site.url("premiere")),
        extractor.extract(request(site.url("premiere"), workspace)),
    ):
        with pytest.raises(ExtractionFailed, match="begins on 2027-01-15 at 08:00 UTC") as refused:
            await attempt
        assert (refused.value.kind, refused.value.retryable) == ("upcoming", False)


async def test_a_live_playlist_that_nobody_called_live_is_not_taken_for_a_film(
    extractor: ChildExtractor, stream: LiveStream, site: Site, workspace: Path
) -> None:
    from tests.support.extraction import natively

    asked = request(site.url("playlist", address=stream.url), workspace)
    extraction = natively(await extractor.extract(asked))
    with pytest.raises(VAssetError) as refused:
        await extractor.download_native(asked, extraction, lambda snapshot: None)
    assert getattr(refused.value, "kind", None) == "live"


async def test_a_site_for_browsers_only_is_asked_with_a_browsers_handshake(
    extractor: ChildExtractor, hostile: LyingOrigin, site: Site, workspace: Path
) -> None:
    film = site.origin.media.read("progressive.mp4")
    welcome = honest(film)

    async def only_browsers(asked: Asked, answer: Answer) -> None:
        if "sec-ch-ua" in asked.headers:
            await welcome(asked, answer)
        else:
            await answer.head("403 Forbidden", Content_Length=0)

    hostile.routes["/members.mp4"] = only_browsers
    asked = request(site.url("browser", address=hostile.url("/members.mp4")), workspace)
    extraction = await extractor.extract(asked)
    assert [each.kind for each in extraction.streams] == ["native"]
    seen: list[TransferSnapshot] = []
    await extractor.download_native(asked, extraction, seen.append)
    assert (workspace / "media.mp4").read_bytes() == film


def encrypted(body: bytes, key: bytes, number: int) -> bytes:
    from Cryptodome.Cipher import AES
    from Cryptodome.Util.Padding import pad

    return AES.new(key, AES.MODE_CBC, number.to_bytes(16, "big")).encrypt(pad(body, 16))
