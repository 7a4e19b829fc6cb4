"""The port ``Parser``: one page is read once, however many ask for it at the same time, and remembered for an hour."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import orjson
from pydantic import TypeAdapter, ValidationError

from vasset.domain.errors import ExtractionFailed, InvalidInput, Unavailable
from vasset.domain.faults import kind_of
from vasset.domain.media import MediaInfo
from vasset.domain.ports import Breaker, Cache, Clock, Extractor
from vasset.domain.user import Identity
from vasset.usecases.end_tasks import end_tasks
from vasset.usecases.site_key import site_of

MAX_PLAYLIST_PAGE = 10_000
EXPIRY_MARGIN_SECONDS = 60
MAX_KEPT_BYTES = 512 * 1024  # a page chooses how large its answer is; Redis keeps counters and tickets beside it
SCOPE = "anonymous"  # results that depend on one user's cookies would carry that user's id here
EXPIRY_NAMES = frozenset({"expire", "expires", "x-expires", "exp"})


@dataclass(frozen=True, slots=True)
class _Kept:
    """Two addresses with one MD5 can be made on purpose: an answer says what it answers."""

    asked: str
    media: MediaInfo


_KEPT = TypeAdapter(_Kept)


class ParserService:
    """``canonicalise`` answers the one spelling of a public http(s) URL or raises ``InvalidUrl`` or ``EgressRefused``."""

    def __init__(
        self,
        extractor: Extractor,
        cache: Cache,
        canonicalise: Callable[[str], str],
        clock: Clock,
        breaker: Breaker,
        *,
        cache_seconds: float = 3_600.0,
        region: str = "",
    ) -> None:
        self._extractor = extractor
        self._cache = cache
        self._canonicalise = canonicalise
        self._clock = clock
        self._breaker = breaker
        self._cache_seconds = cache_seconds
        self._region = region
        self._reading: dict[str, asyncio.Task[MediaInfo]] = {}

    async def parse(self, identity: Identity, url: str, *, playlist_page: int = 1) -> MediaInfo:
        """Raises ``InvalidInput`` and its kinds, ``ExtractionFailed``, ``BreakerOpen``, ``Overloaded``; ``Unavailable`` when closed meanwhile."""
        if not 1 <= playlist_page <= MAX_PLAYLIST_PAGE:
            raise InvalidInput(f"playlist_page must be 1 to {MAX_PLAYLIST_PAGE}")
        canonical = self._canonicalise(url)
        asked = self._asked(canonical, playlist_page)
        key = _key(asked)
        cached = await self._remembered(asked)
        if cached is not None:
            return cached
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.create_task(self._read(canonical, playlist_page), name="parse")
            self._reading[key] = reading
            reading.add_done_callback(lambda done: self._finished(key, done))
        # Shielded: one impatient client must not take the answer from the others who wait for it.
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if reading.cancelled() and asking is not None and not asking.cancelling():
                raise Unavailable() from None  # this service stops, not its client: over gRPC nobody would answer that one
            raise

    async def close(self) -> None:
        """Stop the readings nobody can wait for any more."""
        await end_tasks(self._reading.values())

    async def _read(self, canonical: str, playlist_page: int) -> MediaInfo:
        circuit = f"{site_of(canonical)}|direct"
        self._breaker.check(circuit)
        try:
            info = await self._extractor.describe(canonical, playlist_page=playlist_page)
        except ExtractionFailed as error:
            if kind_of(error).is_trouble:
                self._breaker.record(circuit, succeeded=False)
            raise
        self._breaker.record(circuit, succeeded=True)
        # The version may be known only now, by the child that read the page: under the key of before nobody would find it.
        await self._remember(self._asked(canonical, playlist_page), info)
        return info

    def _finished(self, key: str, reading: asyncio.Task[MediaInfo]) -> None:
        del self._reading[key]
        if not reading.cancelled():
            reading.exception()  # looked at, so that an answer nobody waited for warns nobody

    def _asked(self, canonical: str, playlist_page: int) -> str:
        """The extractor's version is part of it: an update of yt-dlp must not be hidden by yesterday's failure to parse."""
        parts = [canonical, SCOPE, self._region, self._extractor.version, str(playlist_page)]
        return orjson.dumps(parts).decode()

    async def _remembered(self, asked: str) -> MediaInfo | None:
        try:
            data = await self._cache.get(_key(asked))
        except Unavailable:
            return None
        if data is None:
            return None
        try:
            kept = _KEPT.validate_json(data)
        except ValidationError:
            return None  # another version wrote it: read the page again
        return kept.media if kept.asked == asked else None

    async def _remember(self, asked: str, info: MediaInfo) -> None:
        ttl_seconds = min(self._cache_seconds, self._seconds_left(info))
        if ttl_seconds <= 0:
            return
        entry = orjson.dumps(_Kept(asked, info))
        if len(entry) > MAX_KEPT_BYTES:
            return
        try:
            await self._cache.set(_key(asked), entry, ttl_seconds=ttl_seconds)
        except Unavailable:
            return

    def _seconds_left(self, info: MediaInfo) -> float:
        """Until the first signed address in the answer stops working, a minute early."""
        now = self._clock.now().timestamp()
        addresses = [info.thumbnail, *(entry.thumbnail for entry in info.entries)]
        ends = [end for address in addresses if address for end in _expiries(address) if end > 0]
        return min(ends, default=float("inf")) - now - EXPIRY_MARGIN_SECONDS if ends else float("inf")


def _key(asked: str) -> str:
    """``parser:url:{md5}`` (REQUIREMENTS D1)."""
    return f"parser:url:{hashlib.md5(asked.encode(), usedforsecurity=False).hexdigest()}"


def _expiries(address: str) -> list[float]:
    """A site wrote the address: one that cannot be taken apart promises nothing."""
    try:
        pairs = parse_qsl(urlsplit(address).query)
    except ValueError:
        return []
    return [float(value) for name, value in pairs if name.lower() in EXPIRY_NAMES and value.isdecimal()]
