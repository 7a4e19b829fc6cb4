"""HLS says which of its sounds is meant (``DEFAULT=YES``, RFC 8216 §4.3.4.1); yt-dlp reads over it and takes what sorts last."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import parse_m3u8_attributes

MEDIA_TAG = "#EXT-X-MEDIA:"
PREFERRED = 5  # below the 10 that sites give an original language themselves


def heed() -> None:
    """Have every site's HLS playlists read with it. Idempotent; harmless where another yt-dlp has no such method."""
    original = getattr(InfoExtractor, "_parse_m3u8_formats_and_subtitles", None)
    if original is None or hasattr(original, "heeds_default"):
        return

    def parsed(self: Any, m3u8_doc: Any, m3u8_url: Any = None, *more: Any, **named: Any) -> Any:
        formats, subtitles = original(self, m3u8_doc, m3u8_url, *more, **named)
        if isinstance(m3u8_doc, str) and isinstance(m3u8_url, str):
            prefer(formats, defaults(m3u8_doc, m3u8_url))
        return formats, subtitles

    parsed.heeds_default = True  # type: ignore[attr-defined]
    InfoExtractor._parse_m3u8_formats_and_subtitles = parsed


def defaults(playlist: str, address: str) -> set[str]:
    """The addresses of the sounds that the playlist plays when nobody chooses."""
    found = set()
    for line in playlist.splitlines():
        if not line.startswith(MEDIA_TAG):
            continue
        media = parse_m3u8_attributes(line.removeprefix(MEDIA_TAG))
        if media.get("TYPE") == "AUDIO" and media.get("DEFAULT") == "YES" and media.get("URI"):
            found.add(urljoin(address, media["URI"]))
    return found


def prefer(formats: list[dict[str, Any]], addresses: set[str]) -> None:
    """Raise the sounds at ``addresses`` above the others, unless the site has an order of its own."""
    for form in formats:
        if form.get("url") in addresses and (form.get("language_preference") or -1) < PREFERRED:
            form["language_preference"] = PREFERRED
