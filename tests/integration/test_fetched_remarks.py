"""What the engine has to say about a file that came well reaches whoever asked for it, in words."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.support.lying_origin import Answer, Asked, running_lying_origin
from vasset.adapters.fetch.fetcher import open_fetcher
from vasset.domain.download import Phase
from vasset.domain.media import Container, Extraction, ProcessedMedia, Stream
from vasset.domain.ports import ExtractionRequest
from vasset.usecases.acquire_media import Acquisition

FILM = bytes(range(256)) * 400


class Page:
    """An extractor of one page whose file is what was asked for already."""

    def __init__(self, extraction: Extraction) -> None:
        self._extraction = extraction

    async def extract(self, request: ExtractionRequest) -> Extraction:
        return self._extraction

    async def postprocess(
        self, request: ExtractionRequest, extraction: Extraction, on_phase: Callable[[Phase], None]
    ) -> ProcessedMedia:
        return ProcessedMedia(str(request.workspace / "media.mp4"), "mp4", 1.0, ("the cover was left out: it is gone",))


class Open:
    def hold(self) -> Any:
        return nullcontext()


async def test_a_file_that_came_compressed_says_so_before_what_was_left_out(tmp_path: Path) -> None:
    async def behave(asked: Asked, answer: Answer) -> None:
        body = gzip.compress(FILM)
        await answer.head("200 OK", Content_Length=len(body), Content_Encoding="gzip", Content_Type="video/mp4")
        await answer.body(body)

    async with running_lying_origin() as origin, open_fetcher(egress_allow=[origin.address]) as fetcher:
        origin.routes["/film.mp4"] = behave
        stream = Stream("0", "file", origin.url("/film.mp4"), "media.mp4")
        extraction = Extraction("T", "videos", [stream], {}, "1", finished_ext="mp4")
        acquisition = Acquisition(
            extractor=Page(extraction),  # type: ignore[arg-type]  # reads and looks at only
            fetcher=fetcher,
            storage=None,
            extraction_gate=Open(),
            postprocess_gate=Open(),
            request=ExtractionRequest("https://videos.example/1", "best", Container.MP4, "task-1", tmp_path),
            max_bytes=2**20,
            on_phase=lambda phase: None,
        )
        media = await acquisition.complete(extraction)
    assert media.path.read_bytes() == FILM
    unpacked, cover = media.remarks
    assert unpacked.startswith("it came compressed and was unpacked")
    assert cover == "the cover was left out: it is gone"
