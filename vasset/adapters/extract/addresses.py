"""Which submitted addresses reach a child at all, and which of a site's leave it. The guard decides where they may lead."""

from __future__ import annotations

from urllib.parse import urlsplit

from vasset.domain.errors import InvalidUrl

MAX_URL_BYTES = 8192
SMUGGLED = "__youtubedl_smuggle"


def checked_url(url: str) -> str:
    """``url`` unchanged. Raises :class:`InvalidUrl` for everything yt-dlp would take for an option, a search or a local file."""
    if len(url.encode("utf-8", "replace")) > MAX_URL_BYTES:
        raise InvalidUrl("the address is longer than 8 KiB")
    if any(character.isspace() or ord(character) < 0x21 or ord(character) == 0x7F for character in url) or "\\" in url:
        raise InvalidUrl("the address holds spaces, control characters or backslashes")
    try:
        url.encode("utf-8")
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidUrl("the address is not a well-formed URL") from error
    if parts.scheme.lower() not in {"http", "https"} or not url[len(parts.scheme) :].startswith("://"):
        raise InvalidUrl("only http:// and https:// addresses can be downloaded")
    if not parts.hostname or port == 0:
        raise InvalidUrl("the address names no host")
    if parts.username is not None or parts.password is not None:
        raise InvalidUrl("the address holds a user name or password; leave them out")
    if SMUGGLED in url:
        raise InvalidUrl("the address holds instructions for the extractor")
    return url


def is_well_formed(url: str) -> bool:
    """Whether a site's own address can be taken apart by everybody: http(s), a host, a possible port. ``urlsplit`` raises for the rest."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
