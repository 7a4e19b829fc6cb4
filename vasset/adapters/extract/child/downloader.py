"""yt-dlp, with the ways out of the guard closed."""

from __future__ import annotations

import os
from http.cookiejar import Cookie
from typing import Any, ClassVar
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import RequestError
from yt_dlp.utils import DownloadError, UnavailableVideoError, YoutubeDLError

from vasset.adapters.extract.child.offered import after_choice, before_choice, sent_name

# Urllib would speak ftp:, data: and file:; the WebSocket handler knows no HTTP proxy. What is left obeys ``proxy``.
PROXIED_HANDLERS = frozenset({"Requests", "CurlCFFI"})


REFUSED = "_vasset_refused"  # of an entry: why it cannot be had


class NotFetched(DownloadError):  # type: ignore[misc]
    """A stream the engine should have fetched is missing."""


class GuardedDownloader(YoutubeDL):  # type: ignore[misc]
    """``fetches`` lets yt-dlp's own downloaders run, ``tolerates_entries`` keeps a list whose entry cannot be read; neither is on by
    default. ``sent_names`` are the file names servers gave their answers."""

    fetches = False
    tolerates_entries = False
    _sites: ClassVar[tuple[type[Any], ...]] = ()

    def __init__(self, options: dict[str, Any]) -> None:
        self.sent_names: dict[str, str | None] = {}
        super().__init__(options)

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
        response = super().urlopen(req)
        self.sent_names[response.url] = sent_name(response.headers.get("Content-Disposition"))
        return response

    def process_video_result(self, info_dict: dict[str, Any], download: bool = True) -> dict[str, Any]:
        before_choice(info_dict)
        result: dict[str, Any] = super().process_video_result(info_dict, download)
        after_choice(result)
        return result

    def process_ie_result(self, ie_result: Any, download: bool = True, extra_info: Any = None) -> Any:
        """Of a list, an entry that cannot be had costs nobody the others."""
        if not self.tolerates_entries or not (extra_info or {}).get("playlist_index"):
            return super().process_ie_result(ie_result, download, extra_info)
        try:
            return super().process_ie_result(ie_result, download, extra_info)
        except YoutubeDLError as error:
            return {"_type": "video", "id": ie_result.get("id"), "title": ie_result.get("title"), REFUSED: error}

    def dl(self, name: str, info: dict[str, Any], subtitle: bool = False, test: bool = False) -> tuple[bool, bool]:
        """yt-dlp never fetches what the engine should have fetched."""
        if self.fetches:
            result: tuple[bool, bool] = super().dl(name, info, subtitle, test)
            return result
        raise UnavailableVideoError(NotFetched(f"{os.path.basename(name)} is the engine's to fetch"))  # noqa: PTH119

    def take_cookies(self, job: dict[str, Any]) -> None:
        """The user's own, for as long as the job lasts."""
        for each in job.get("cookies") or ():
            domain = str(each["domain"])
            below = domain.startswith(".")
            # ``http.cookiejar`` writes a host without a dot as ``host.local``.
            domain = domain if "." in domain else f"{domain}.local"
            self.cookiejar.set_cookie(
                Cookie(
                    0, each["name"], each["value"], None, False, domain, below, below, each["path"], True, each["secure"],
                    each["expires"], each["expires"] is None, None, None, {},
                )
            )  # fmt: skip

    def leave_cookies(self, job: dict[str, Any], forms: list[dict[str, Any]]) -> None:
        """Take the user's own out of what is written down about ``forms``: a job gets them anew, the disk never."""
        names = {each["name"] for each in job.get("cookies") or ()}
        if not names:
            return
        for cookie in list(self.cookiejar):
            if cookie.name in names:
                self.cookiejar.clear(cookie.domain, cookie.path, cookie.name)
        for form in forms:
            form.pop("cookies", None)
            self._calc_headers(form)

    def carry_cookies(self, form: dict[str, Any]) -> None:
        """Send what the extraction was given by the site: that was another process."""
        self._load_cookies(form.get("cookies"), autoscope=False)
