"""yt-dlp, with the ways out of the guard closed."""

from __future__ import annotations

import os
from typing import Any, ClassVar
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.utils import DownloadError, UnavailableVideoError

# Urllib would speak ftp:, data: and file:; the WebSocket handler knows no HTTP proxy. What is left obeys ``proxy``.
PROXIED_HANDLERS = frozenset({"Requests", "CurlCFFI"})


class NotFetched(DownloadError):  # type: ignore[misc]
    """A stream the engine should have fetched is missing."""


class GuardedDownloader(YoutubeDL):  # type: ignore[misc]
    """``fetches`` lets yt-dlp's own downloaders run; it is not on by default."""

    fetches = False
    _sites: ClassVar[tuple[type[Any], ...]] = ()

    def add_default_info_extractors(self) -> None:
        """The sites, sorted out once per process: yt-dlp compares each of 1,700 names with all before it, 40 ms a downloader."""
        if self.params.get("allowed_extractors"):
            super().add_default_info_extractors()
        elif self._sites:
            for site in self._sites:
                self.add_info_extractor(site)
        else:
            super().add_default_info_extractors()
            if all(isinstance(site, type) for site in self._ies.values()):  # an object would belong to this downloader
                GuardedDownloader._sites = tuple(self._ies.values())

    def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
        allowed = [handler for handler in handlers if handler.RH_KEY in PROXIED_HANDLERS]
        return super().build_request_director(allowed, preferences)

    def urlopen(self, req: Any) -> Any:
        """Refuse every scheme but http and https, whoever asks: extractor, downloader, post-processor."""
        url = req if isinstance(req, str) else getattr(req, "url", None) or req.full_url
        if urlsplit(url).scheme.lower() not in {"http", "https"}:
            raise RequestError("only http and https addresses are fetched")
        return super().urlopen(req)

    def dl(self, name: str, info: dict[str, Any], subtitle: bool = False, test: bool = False) -> tuple[bool, bool]:
        """yt-dlp never fetches what the engine should have fetched."""
        if self.fetches:
            result: tuple[bool, bool] = super().dl(name, info, subtitle, test)
            return result
        raise UnavailableVideoError(NotFetched(f"{os.path.basename(name)} is the engine's to fetch"))  # noqa: PTH119

    def carry_cookies(self, form: dict[str, Any]) -> None:
        """Send what the extraction was given by the site: that was another process."""
        self._load_cookies(form.get("cookies"), autoscope=False)
