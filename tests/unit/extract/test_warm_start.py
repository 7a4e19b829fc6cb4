"""What the nursery prepares is used again, and is what yt-dlp would have made itself."""

from __future__ import annotations

from yt_dlp import YoutubeDL

from vasset.adapters.extract.child.downloader import GuardedDownloader

QUIET = {"quiet": True, "color": "never"}


def test_a_second_downloader_knows_the_sites_yt_dlp_knows_in_its_order() -> None:
    with GuardedDownloader(QUIET), GuardedDownloader(QUIET) as second, YoutubeDL(QUIET) as plain:
        assert list(second._ies) == list(plain._ies)


def test_a_choice_of_sites_is_still_obeyed() -> None:
    with GuardedDownloader(QUIET), GuardedDownloader(QUIET | {"allowed_extractors": ["generic"]}) as chosen:
        assert list(chosen._ies) == ["Generic"]
