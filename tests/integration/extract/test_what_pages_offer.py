"""What a page offers can be had: bare addresses, sound without a picture, lists with an entry that cannot be had, ids of any script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.extraction import Site, fetch, request, sending
from tests.support.lying_origin import Answer, Asked, LyingOrigin
from vasset.adapters.extract.extractor import ChildExtractor
from vasset.domain.errors import ExtractionFailed, UnsupportedSite
from vasset.domain.media import is_quality

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]


async def test_a_bare_address_is_one_format_with_its_qualities(extractor: ChildExtractor, site: Site) -> None:
    media = await extractor.describe(site.url("bare"))
    assert [(form.id, form.ext) for form in media.formats] == [("0", "mp4")]
    assert [choice.quality for choice in media.qualities] == ["best", "audio"]


async def test_sound_without_a_picture_is_offered_as_sound_and_stays_what_it_is(
    extractor: ChildExtractor, site: Site, workspace: Path
) -> None:
    address = site.url("bare", name="audio_only.m4a", ext="m4a")
    media = await extractor.describe(address)
    assert [choice.quality for choice in media.qualities] == ["audio"]
    asked = request(address, workspace)
    extraction = await extractor.extract(asked)
    fetch(extraction, workspace)
    made = await extractor.postprocess(asked, extraction, lambda phase: None)
    assert made.ext == "m4a"
    assert Path(made.path).read_bytes() == site.origin.media.read("audio_only.m4a")


@pytest.mark.parametrize("odd", [{}, {"drm": "1"}])
async def test_an_entry_that_cannot_be_had_leaves_the_others_with_their_numbers(
    extractor: ChildExtractor, site: Site, workspace: Path, odd: dict[str, str]
) -> None:
    media = await extractor.describe(site.url("carousel", **odd))
    assert [(entry.title, entry.url.rpartition("=")[2]) for entry in media.entries] == [
        ("Entry 1", "1"),
        ("Entry 3", "3"),
    ]
    extraction = await extractor.extract(request(media.entries[1].url, workspace))
    assert extraction.title == "Entry 3"
    with pytest.raises(ExtractionFailed) as refused:
        await extractor.extract(request(site.url("carousel", **odd) + "#vasset-item=2", workspace))
    assert refused.value.kind == ("drm" if odd else "extractor_broken")
    with pytest.raises(UnsupportedSite, match="playlist"):
        await extractor.extract(request(site.url("carousel", **odd), workspace))


async def test_a_list_of_nothing_but_what_cannot_be_had_says_why(extractor: ChildExtractor, site: Site) -> None:
    with pytest.raises(ExtractionFailed) as refused:
        await extractor.describe(site.url("carousel", only="1", drm="1"))
    assert refused.value.kind == "drm"


async def test_an_entry_without_an_address_can_be_parsed_by_its_number(extractor: ChildExtractor, site: Site) -> None:
    page = site.url("carousel") + "#!/tab"
    media = await extractor.describe(page)
    assert media.entries[0].url == f"{page}#vasset-item=1"
    entry = await extractor.describe(media.entries[1].url)
    assert (entry.kind, entry.title, [form.id for form in entry.formats]) == ("single", "Entry 3", ["18"])


async def test_every_id_that_is_listed_can_be_chosen(extractor: ChildExtractor, site: Site, workspace: Path) -> None:
    listed = (await extractor.describe(site.url("named"))).formats
    assert len(listed) == 8
    for form in listed:
        assert is_quality(form.id)
        (stream,) = (await extractor.extract(request(site.url("named"), workspace, quality=form.id))).streams
        assert len(stream.format_id) <= 40


@pytest.mark.parametrize(
    ("disposition", "title"),
    [
        ('attachment; filename="Our holiday.mp4"', "Our holiday"),
        ("attachment; filename*=UTF-8''%E5%81%87%E6%9C%9F.mp4", "假期"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ("attachment", "clip"),
    ],
)
async def test_a_direct_link_is_named_by_its_server(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, disposition: str, title: str
) -> None:
    film = site.origin.media.read("progressive.mp4")

    async def behave(asked: Asked, answer: Answer) -> None:
        await answer.head("200 OK", Content_Length=len(film), Content_Type="video/mp4", Content_Disposition=disposition)
        await answer.body(film)

    hostile.routes["/clip.mp4"] = behave
    assert (await extractor.describe(hostile.url("/clip.mp4"))).title == title
    assert (await extractor.extract(request(hostile.url("/clip.mp4"), workspace))).title == title


PAGE = """<!doctype html><title>t</title><meta property="og:image" content="{picture}"><script type="application/ld+json">{{
"@context": "https://schema.org", "@type": "VideoObject", "name": "n", "encodingFormat": "video/mp4", "contentUrl": "{film}"}}</script>"""


@pytest.mark.parametrize(
    "picture", ["http://[::1/x", "http://[zz]/", "http://x.example:99999999/", "http://x.example\u2100.com/"]
)
async def test_a_page_with_an_odd_picture_and_a_described_film_is_read_and_fetched(
    extractor: ChildExtractor, site: Site, hostile: LyingOrigin, workspace: Path, picture: str
) -> None:
    """yt-dlp leaves notes to itself in the address of such a film; the engine takes them for what they are not."""
    film = f"http://{site.origin.address}/media/progressive.mp4"
    hostile.routes["/page"] = sending(PAGE.format(picture=picture, film=film).encode())
    address = hostile.url("/page")
    assert (await extractor.describe(address)).thumbnail is None
    (stream,) = (await extractor.extract(request(address, workspace))).streams
    assert (stream.url, stream.headers["Referer"]) == (film, address)
