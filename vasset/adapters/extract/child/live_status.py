"""Whether something is on air, and when it will be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.failure import Failure, JobFailed, classify, of_kind

UPCOMING = "upcoming"


def is_live(info: dict[str, Any]) -> bool:
    """Media that comes as WebSocket messages is on air whatever the page says: there is no other way to have it."""
    return bool(info.get("is_live")) or info.get("live_status") == "is_live" or info.get("protocol") == "websocket_frag"


def read_page(downloader: GuardedDownloader, url: str) -> Any:
    """yt-dlp's description of the page. What has not begun is refused with the time it begins at, where the site tells."""
    try:
        info = downloader.extract_info(url, download=False)
    except Exception as error:
        if classify(error).kind != UPCOMING:
            raise
        raise JobFailed(_not_begun(_announced(downloader, url))) from error
    if isinstance(info, dict) and info.get("live_status") == "is_upcoming":
        raise JobFailed(_not_begun(info))
    return info


def _announced(downloader: GuardedDownloader, url: str) -> dict[str, Any]:
    """Sites refuse a page without formats before they say when there will be some; asked this way they say it."""
    downloader.params["ignore_no_formats_error"] = True
    try:
        info = downloader.extract_info(url, download=False)
    except Exception:
        return {}
    finally:
        del downloader.params["ignore_no_formats_error"]
    return info if isinstance(info, dict) else {}


def _not_begun(info: dict[str, Any]) -> Failure:
    moment = info.get("release_timestamp")
    try:
        begins = datetime.fromtimestamp(float(moment), UTC) if moment else None
    except (TypeError, ValueError, OverflowError, OSError):
        begins = None
    if begins is None:
        return of_kind(UPCOMING)
    words = f"This has not begun yet; it begins on {begins:%Y-%m-%d} at {begins:%H:%M} UTC. Start the download then."
    return of_kind(UPCOMING, words)
