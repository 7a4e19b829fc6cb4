"""The web page in a real Chromium against a real server and origin: what people do, at a desk and on a phone.

Every page is watched: a console error, a CSP violation, a request to anywhere but the server (and the origin's thumbnail),
or a token in an address fails the test.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, Route, async_playwright, expect

from tests.support.extraction import codecs
from tests.support.live_stream import LiveStream, transport_segments
from tests.support.lying_origin import running_lying_origin
from tests.support.media import Media
from tests.support.origin import Origin
from tests.support.processes import RunningServer, assert_healthy, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PASSWORD = "correct horse 1"
PICTURE = b"GIF89a\x02\x00\x01\x00\x80\x00\x00\x0b\x6e\x5f\xff\xff\xff,\x00\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02D\n\x00;"  # 2 × 1
PATIENCE_MS = 30_000
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("page"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)"),
]


@dataclass
class Visit:
    """One person's browser window and what it complained about."""

    page: Page
    host: str
    origin: str
    expected_statuses: set[int] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def watch(self) -> None:
        self.page.on("console", lambda message: self._console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("request", self._request)
        self.page.on("websocket", lambda socket: self.addresses.append(socket.url))

    def _console(self, kind: str, text: str) -> None:
        status = re.search(r"responded with a status of (\d+)", text)
        expected = status is not None and int(status[1]) in self.expected_statuses
        if kind in {"error", "warning"} and not expected:
            self.complaints.append(f"{kind}: {text}")

    def _request(self, request: Request) -> None:
        self.addresses.append(request.url)
        if urlsplit(request.url).netloc not in {self.host, self.origin}:
            self.complaints.append(f"went to {request.url}")

    def check(self) -> None:
        assert not self.complaints, "\n".join(self.complaints)
        assert not [url for url in self.addresses if "eyJ" in url or "access_token" in url]


@dataclass
class House:
    """The server, the origin and a browser to visit with."""

    server: RunningServer
    origin: Origin
    browser: Browser
    stream: LiveStream

    @asynccontextmanager
    async def visit(self, *statuses: int, viewport: dict[str, int] = DESK, **context: Any) -> AsyncIterator[Visit]:
        window = await self.browser.new_context(viewport=viewport, **context)  # type: ignore[arg-type]
        window.set_default_timeout(PATIENCE_MS)
        visit = Visit(await window.new_page(), urlsplit(self.server.url).netloc, self.origin.address, set(statuses))
        visit.watch()
        try:
            await visit.page.goto(self.server.url)
            yield visit
            visit.check()
        finally:
            await window.close()


@pytest.fixture(scope="module")
def media(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Media:
    """A copy: pages are added that name this origin's port, and the folder of media is shared with every run on this machine."""
    folder = tmp_path_factory.mktemp("page-origin") / "media"
    shutil.copytree(media.folder, folder)
    return Media(folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    expect.set_options(timeout=PATIENCE_MS)
    _add_pages(origin.media.folder, f"http://{origin.address}")
    data_dir = tmp_path_factory.mktemp("page-data")
    async with (
        running_lying_origin() as station,
        serving(data_dir, egress_allow=f"{origin.address},{station.address}") as server,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield House(server, origin, browser, LiveStream(station, transport_segments(origin.media), "on-air"))
        await browser.close()
        assert await server.stop() == 0, "\n".join(server.log[-30:])
    await assert_healthy(data_dir)


def _add_pages(folder: Path, address: str) -> None:
    """Pages as sites have them: with a picture, without a video, with a video that is not there."""
    pages = {
        "with_picture.html": _described(
            "A film with a picture", f"{address}/media/progressive.mp4", f"{address}/media/poster.gif"
        ),
        "odd_picture.html": _described(
            "A film whose cover is no picture", f"{address}/media/progressive.mp4", f"{address}/media/words_only.html"
        ),
        "words_only.html": "<!doctype html><title>Only words</title><p>No video here.</p>",
        "broken.html": '<!doctype html><title>A film that is gone</title><video src="/media/gone.mp4"></video>',
        "slow.html": '<!doctype html><title>A slow film</title><video src="/slow/progressive.mp4"></video>',
    }
    for name, text in pages.items():
        (folder / name).write_text(text)
    (folder / "poster.gif").write_bytes(PICTURE)


def _described(title: str, video: str, picture: str) -> str:
    """A page that describes its video in JSON-LD, as most sites do."""
    described = {
        "@context": "https://schema.org", "@type": "VideoObject", "name": title, "duration": "PT6S",
        "contentUrl": video, "thumbnailUrl": picture, "author": {"@type": "Person", "name": "Ann Author"},
    }  # fmt: skip
    return f'<!doctype html><title>{title}</title><script type="application/ld+json">{json.dumps(described)}</script>'


async def register(visit: Visit, email: str) -> None:
    page = visit.page
    await page.get_by_role("button", name="Create an account").click()
    await page.get_by_label("Email").fill(email)
    await page.get_by_label("Name").fill(email.split("@", maxsplit=1)[0].title())
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account", exact=True).click()
    await expect(page.get_by_role("heading", name="History")).to_be_visible(timeout=PATIENCE_MS)


async def find(visit: Visit, link: str) -> None:
    await visit.page.get_by_label("Link to a video or playlist").fill(link)
    await visit.page.get_by_role("button", name="Find").click()


async def start(visit: Visit, link: str, title: str) -> None:
    await find(visit, link)
    await expect(visit.page.get_by_role("heading", name=title)).to_be_focused(timeout=PATIENCE_MS)
    await visit.page.get_by_role("button", name="Download", exact=True).click()


async def no_sideways_scroll(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_of_several_pasted_links_none_is_dropped(house: House) -> None:
    """A field of one line would join pasted lines to one address that does not exist."""
    async with house.visit() as visit:
        page = visit.page
        await register(visit, "lines@example.test")
        links = [house.origin.url(name) for name in ("with_picture.html", "progressive.mp4")]
        await page.get_by_label("Link to a video or playlist").evaluate(
            """(field, text) => {
                const data = new DataTransfer();
                data.setData("text", text);
                field.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
            }""",
            "\n".join(links),
        )
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("heading", name="2 links")).to_be_focused(timeout=PATIENCE_MS)
        for link in links:
            await expect(page.get_by_label(link)).to_be_checked()
        await page.get_by_role("button", name="Download 2").click()
        downloads = page.get_by_role("region", name="Downloads")
        await expect(downloads.get_by_text("Ready to save", exact=True)).to_have_count(2, timeout=PATIENCE_MS)


async def test_a_link_becomes_a_file_on_the_readers_disk(house: House) -> None:
    async with house.visit() as visit:
        page = visit.page
        await register(visit, "ada@example.test")
        await expect(page.get_by_text("downloads left today")).to_be_visible()
        before = int(await page.locator(".quota strong").inner_text())
        await find(visit, f"look at this: {house.origin.url('with_picture.html')}.")
        title = page.get_by_role("heading", name="A film with a picture")
        await expect(title).to_be_focused(timeout=PATIENCE_MS)
        picture = page.locator(".thumbnail img")
        await expect(picture).to_have_js_property("naturalWidth", 2)
        await page.get_by_role("button", name="Download", exact=True).click()
        await expect(page.get_by_text("Ready to save", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        downloads = page.get_by_role("region", name="Downloads")
        async with page.expect_download() as saved:
            await downloads.get_by_role("button", name="Save").click()
        file = await saved.value
        assert file.suggested_filename == "A film with a picture.mp4"
        assert codecs(str(await file.path()))[:2] == ["h264", "aac"]  # its picture is in it by now
        await downloads.get_by_role("button", name="Dismiss").click()

        history = page.get_by_role("region", name="History")
        await expect(history.get_by_text(re.compile(r"removed in (23 h|24 h)"))).to_be_visible()
        await history.get_by_role("button", name="Keep A film").click()
        await expect(history.get_by_text("kept until you delete it")).to_be_visible()
        await expect(page.locator(".quota strong")).to_have_text(str(before - 1))
        await history.get_by_role("button", name="Delete A film").click()
        await history.get_by_role("button", name="Yes, delete").click()
        await expect(history.get_by_text("Finished downloads appear here.")).to_be_visible()
        assert any(url.endswith("/api/v1/ws") for url in visit.addresses)


async def test_what_a_finished_file_lacks_is_said_beside_it(house: House) -> None:
    async with house.visit() as visit:
        await register(visit, "rema@example.test")
        await start(visit, house.origin.url("odd_picture.html"), "A film whose cover is no picture")
        downloads = visit.page.get_by_role("region", name="Downloads")
        await expect(downloads.get_by_text("Ready to save", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await expect(downloads.get_by_text("The cover was left out: what the site sent is no picture.")).to_be_visible()


async def test_a_running_download_is_paused_resumed_and_cancelled(house: House) -> None:
    async with house.visit() as visit:
        page = visit.page
        await register(visit, "grace@example.test")
        await start(visit, house.origin.url("slow.html"), "A slow film")
        bar = page.get_by_role("progressbar", name="Progress of A slow film")
        await expect(page.get_by_text("Downloading", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await expect(bar).not_to_have_js_property("value", 0, timeout=PATIENCE_MS)
        reached = await bar.evaluate("bar => bar.value")
        await page.get_by_role("button", name="Pause: A slow film").click()
        await expect(page.get_by_text("Paused", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        assert await bar.evaluate("bar => bar.value") >= reached
        await page.get_by_role("button", name="Resume: A slow film").click()
        await expect(page.get_by_role("button", name="Pause: A slow film")).to_be_visible(timeout=PATIENCE_MS)
        await page.get_by_role("button", name="Cancel: A slow film").click()
        await expect(page.get_by_text("Cancelled", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await expect(page.get_by_role("button", name="Retry: A slow film")).to_be_visible()


async def test_a_broadcast_is_recorded_until_its_viewer_stops_it(house: House) -> None:
    async with house.visit() as visit:
        page = visit.page
        await register(visit, "lea@example.test")
        await find(visit, house.stream.url)
        await expect(page.get_by_text("On air now")).to_be_visible(timeout=PATIENCE_MS)
        await page.get_by_role("button", name="Record", exact=True).click()
        await expect(page.get_by_text("Recording live", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await house.stream.air()
        await page.get_by_role("button", name=re.compile("^Stop and keep: ")).click()
        await expect(page.get_by_text("Ready to save", exact=True)).to_be_visible(timeout=PATIENCE_MS)


async def test_the_numbers_come_by_polling_where_websockets_do_not_pass(house: House) -> None:
    async with house.visit() as visit:
        await visit.page.route_web_socket(re.compile("/api/v1/ws$"), lambda socket: socket.close())
        await register(visit, "polly@example.test")
        await start(visit, house.origin.url("progressive_mp4.html"), "A plain page")
        await expect(visit.page.get_by_text("Ready to save", exact=True)).to_be_visible(timeout=PATIENCE_MS)


async def test_errors_say_what_happened_and_what_to_do(house: House) -> None:
    async with house.visit(400, 401, 403, 404, 409, 422, 502, 503) as visit:
        page = visit.page
        await page.get_by_label("Email").fill("nobody@example.test")
        await page.get_by_label("Password").fill("wrong password 1")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("Email or password is wrong")
        await register(visit, "erna@example.test")
        alert = page.get_by_role("alert")
        await find(visit, "no link at all")
        await expect(alert).to_contain_text("That is not a web link")
        await find(visit, "http://10.0.0.1/film.mp4")
        await expect(alert).to_contain_text("not on the public internet")
        await find(visit, house.origin.url("words_only.html"))
        await expect(alert).to_contain_text(re.compile("No video was found|could not be read"), timeout=PATIENCE_MS)
        await alert.get_by_text("Details", exact=True).click()
        await expect(alert.get_by_label("Error details")).to_contain_text(re.compile(r"reason: \w+"))
        await alert.get_by_role("button", name="Dismiss").click()
        await expect(alert).to_have_count(0)


async def test_a_failed_download_explains_itself_and_can_be_tried_again(house: House) -> None:
    async with house.visit() as visit:
        page = visit.page
        await register(visit, "fay@example.test")
        await start(visit, house.origin.url("broken.html"), "A film that is gone")
        downloads = page.get_by_role("region", name="Downloads")
        await expect(downloads.get_by_role("alert")).to_contain_text(re.compile(r"\w+.*\."), timeout=PATIENCE_MS)
        await expect(downloads.get_by_text("Failed", exact=True)).to_be_visible()
        await expect(downloads.get_by_role("button", name="Retry: A film that is gone")).to_be_enabled()


async def test_two_people_do_not_see_each_others_downloads(house: House) -> None:
    async with house.visit() as first, house.visit() as second:
        await register(first, "one@example.test")
        await register(second, "two@example.test")
        await start(first, house.origin.url("progressive_mp4.html"), "A plain page")
        await expect(first.page.get_by_text("Ready to save", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await second.page.reload()
        await expect(second.page.get_by_text("Finished downloads appear here.")).to_be_visible()
        await expect(second.page.get_by_text("A plain page")).to_have_count(0)


async def test_a_session_survives_reload_and_expiry_with_one_refresh(house: House) -> None:
    async with house.visit(401) as visit:
        page = visit.page
        await register(visit, "rita@example.test")
        refreshes = _counting(visit, "/api/v1/auth/refresh")
        await page.reload()
        await expect(page.get_by_role("heading", name="History")).to_be_visible()
        assert len(refreshes) == 1  # several calls start at once, one of them refreshes
        await page.route("**/api/v1/quota", _once_unauthorised())
        async with page.expect_response("**/api/v1/auth/refresh"):
            await page.reload()
        await expect(page.get_by_text("downloads left today")).to_be_visible()
        stored = await page.evaluate("JSON.stringify({...localStorage, ...sessionStorage})")
        assert "eyJ" not in stored  # access tokens stay in memory


def _counting(visit: Visit, path: str) -> list[str]:
    seen: list[str] = []
    visit.page.on("request", lambda request: seen.append(request.url) if path in request.url else None)
    return seen


def _once_unauthorised() -> Callable[[Route], Awaitable[None]]:
    """Answers the first call as if the access token had just expired."""
    answered = False

    async def handle(route: Route) -> None:
        nonlocal answered
        if answered:
            await route.continue_()
        else:
            answered = True
            await route.fulfill(
                status=401,
                json={
                    "code": 40102,
                    "message": "expired",
                    "retryable": False,
                    "reason": "token_expired",
                    "request_id": "t",
                },
            )

    return handle


async def test_signing_out_ends_the_session_in_every_tab(house: House) -> None:
    async with house.visit() as visit:
        await register(visit, "otto@example.test")
        other = await visit.page.context.new_page()
        await other.goto(house.server.url)
        await expect(other.get_by_role("heading", name="History")).to_be_visible()
        await visit.page.get_by_role("button", name="Sign out").click()
        await expect(visit.page.get_by_role("heading", name="Sign in")).to_be_visible()
        await expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await visit.page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_scrolls_sideways_on_a_phone(house: House, scheme: str) -> None:
    async with house.visit(viewport=PHONE, color_scheme=scheme, has_touch=True) as visit:
        page = visit.page
        await no_sideways_scroll(page)
        await register(visit, f"phone-{scheme}@example.test")
        await find(visit, house.origin.url("slow.html"))
        await expect(page.get_by_role("heading", name="A slow film")).to_be_focused(timeout=PATIENCE_MS)
        await no_sideways_scroll(page)
        await page.get_by_role("button", name="Download", exact=True).click()
        await expect(page.get_by_text("Downloading", exact=True)).to_be_visible(timeout=PATIENCE_MS)
        await no_sideways_scroll(page)
        await page.get_by_role("button", name=re.compile("^Cancel")).click()
        await expect(page.get_by_role("region", name="History").get_by_text("cancelled")).to_be_visible(
            timeout=PATIENCE_MS
        )
        await no_sideways_scroll(page)
        await start(visit, house.origin.url("broken.html"), "A film that is gone")
        await expect(page.get_by_role("alert")).to_contain_text("/media/gone.mp4", timeout=PATIENCE_MS)
        await no_sideways_scroll(page)


async def test_it_can_be_used_without_a_mouse_and_heard_without_a_screen(house: House) -> None:
    async with house.visit() as visit:
        page = visit.page
        await register(visit, "keys@example.test")
        await page.get_by_label("Link to a video or playlist").focus()
        await page.keyboard.type(house.origin.url("progressive_mp4.html"))
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="A plain page")).to_be_focused(timeout=PATIENCE_MS)
        for expected in ("Quality", "File format"):
            await page.keyboard.press("Tab")
            await expect(page.get_by_label(expected)).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("checkbox", name="Subtitles")).to_be_focused()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("radio", name="Quick")).to_be_focused()
        await page.keyboard.press("ArrowDown")
        await expect(page.get_by_role("radio", name="Archive")).to_be_checked()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status").filter(has_text="Ready to save")).to_have_count(1, timeout=PATIENCE_MS)
        await expect(page.get_by_text("kept until you delete it")).to_be_visible()
        nameless = await page.evaluate(
            """[...document.querySelectorAll('button, input, select, progress, a')].filter(
                 one => !(one.labels?.length || one.ariaLabel || one.textContent.trim())).map(one => one.outerHTML)"""
        )
        assert nameless == []
