"""What reads pages and moves bytes: guard, children and engine of one process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from vasset.config import Settings
from vasset.domain.errors import VAssetError
from vasset.domain.ports import Extractor, Fetcher

SMALL_REQUEST_BYTES = 2**20
SMALL_REQUEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class MediaTools:
    """``guard_url`` issues a way out for a small request of ours, such as to an exit provider."""

    extractor: Extractor
    fetcher: Fetcher
    canonicalise: Callable[[str], str]
    check_address: Callable[[str, int], str | None]
    guard_url: Callable[[], str]


@asynccontextmanager
async def open_media_tools(
    settings: Settings, *, children: int | None = None, lasting: bool = True
) -> AsyncIterator[MediaTools]:
    """Ready at once: yt-dlp is loaded by the nursery in the background. Closed in reverse order. Not ``lasting``: for one download."""
    from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
    from vasset.adapters.fetch.fetcher import open_fetcher
    from vasset.adapters.fetch.guard import address_check, canonicaliser, open_guard

    options = ExtractorOptions(
        children=children or settings.extraction_children,
        file_children=settings.postprocess_slots,
        live_children=settings.live_recordings,
        timeout_seconds=settings.extraction_timeout_seconds,
        file_timeout_seconds=settings.postprocess_timeout_seconds,
        memory_mib=settings.extraction_memory_mib,
        recycle_after=settings.extraction_recycle_after,
        max_file_bytes=settings.max_file_bytes,
        plugins=settings.extractor_plugins,
        channel=settings.ytdlp_channel_dir or settings.data_dir / "ytdlp",
        ca_file=settings.ca_file,
        lasting=lasting,
    )
    async with AsyncExitStack() as stack:
        guard = stack.enter_context(open_guard(settings.egress_allow))

        def guard_url() -> str:
            return guard.issue("exits", max_bytes=SMALL_REQUEST_BYTES, timeout_seconds=SMALL_REQUEST_SECONDS).url

        fetcher = await stack.enter_async_context(
            open_fetcher(
                egress_allow=settings.egress_allow,
                ca_file=settings.ca_file,
                max_connections=settings.max_connections,
                max_connections_per_host=settings.max_connections_per_host,
                rate_limit=settings.rate_limit,
                hash_algorithm=settings.hash_algorithm,
                disk_floor=settings.disk_floor_bytes,
            )
        )
        extractor = await stack.enter_async_context(open_extractor(guard, options))
        warming = asyncio.create_task(_warm(extractor.start), name="warm children")
        stack.callback(warming.cancel)
        yield MediaTools(
            extractor, fetcher, canonicaliser(settings.egress_allow), address_check(settings.egress_allow), guard_url
        )


async def _warm(start: Callable[[], Awaitable[str]]) -> None:
    """Whatever fails here is reported to the first download that needs a child."""
    with contextlib.suppress(VAssetError, OSError):
        await start()
