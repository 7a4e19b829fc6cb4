"""The user's own cookies go with every job of one download and stay on no disk."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from http.cookiejar import Cookie as Kept
from pathlib import Path

import pytest

from tests.support.extraction import natively, request
from tests.support.lying_origin import Answer, Asked, LyingOrigin, page
from vasset.adapters.extract.child.streams import MOST_COOKIES, cookies_in
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.domain.media import Cookie

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]

CANARY = "canary-1b9e44d2"
BODY = b"\0\0\0\x18ftypmp42" + bytes(50_000)


async def members(asked: Asked, answer: Answer) -> None:
    """The film, for whoever comes with the session."""
    if asked.headers.get("cookie", "").startswith(f"session={CANARY}"):
        await answer.head("200 OK", Content_Type="video/mp4", Content_Length=len(BODY))
        if asked.method == "GET":
            await answer.body(BODY)
    else:
        await answer.head("403 Forbidden", Content_Length=0)


async def test_yt_dlps_own_downloader_is_given_them_anew(
    extractor: ChildExtractor, hostile: LyingOrigin, workspace: Path
) -> None:
    hostile.routes["/members"] = page('<title>Film</title><video src="/members.mp4"></video>')
    hostile.routes["/members.mp4"] = members
    own = (Cookie("session", CANARY, "127.0.0.1"), Cookie("other", CANARY, "example.com"))
    asked = replace(request(hostile.url("/members"), workspace), cookies=own)
    extraction = await extractor.extract(asked)
    assert {cookie.name for stream in extraction.streams for cookie in stream.cookies} == {"session", "other"}
    await extractor.download_native(asked, natively(extraction), lambda snapshot: None)
    (film,) = [path for path in workspace.iterdir() if path.suffix == ".mp4"]
    assert await asyncio.to_thread(film.read_bytes) == BODY
    assert not [path for path in workspace.iterdir() if CANARY.encode() in path.read_bytes()]


async def test_a_job_after_it_is_without_them(extractor: ChildExtractor, hostile: LyingOrigin, workspace: Path) -> None:
    """Children do one job after another, also for others."""
    hostile.routes["/open"] = page('<title>Film</title><video src="/open.mp4"></video>')
    hostile.routes["/open.mp4"] = page("")
    url = hostile.url("/open")
    for own in ((Cookie("session", CANARY, "127.0.0.1"),), ()):
        hostile.asked.clear()
        extraction = await extractor.extract(replace(request(url, workspace), cookies=own))
        assert [bool(stream.cookies) for stream in extraction.streams] == [bool(own)]
    assert {asked.headers.get("cookie") for asked in hostile.asked} == {None}


async def test_of_a_browsers_whole_jar_the_sites_own_come_first() -> None:
    def kept(name: str, domain: str) -> Kept:
        return Kept(0, name, "v", None, False, domain, True, True, "/", True, False, None, True, None, None, {})

    jar = [kept(f"c{number}", f".site{number}.example") for number in range(MOST_COOKIES)]
    found = cookies_in([*jar, kept("session", ".video.example")], ["cdn.video.example"])
    assert len(found) == MOST_COOKIES
    assert found[0]["name"] == "session"
