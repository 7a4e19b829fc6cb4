"""Phase one: choose formats, say what to fetch, leave what phase two needs in the workspace."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vasset.adapters.extract.child.again import find_again
from vasset.adapters.extract.child.containers import MUXERS
from vasset.adapters.extract.child.describe import PLAYLISTS, page_and_item, readable, sent_title
from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.failure import JobFailed, of_kind
from vasset.adapters.extract.child.formats import UNFETCHABLE, Choice, choose, while_live
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.live_status import is_live, read_page
from vasset.adapters.extract.child.options import base_options, checked
from vasset.adapters.extract.child.recording import ask_to_finish, begun, follow
from vasset.adapters.extract.child.sidecars import choose_subtitles
from vasset.adapters.extract.child.sizes import total
from vasset.adapters.extract.child.streams import cookies_in, requested, stream, tame
from vasset.adapters.extract.child.tags import are_worth_writing
from vasset.adapters.extract.child.text import seconds, text

INFO_FILE = "media.info.json"
VIDEO_TARGETS = frozenset({"mp4", "mkv", "webm"})
# Large, and of no use once the formats are chosen.
DROPPED = (
    "formats", "automatic_captions", "subtitles", "heatmap", "comments", "requested_downloads", "entries", "_format_sort_fields",
    "storyboards", "tags", "categories",
)  # fmt: skip


def extract(
    job: dict[str, Any],
    settings: dict[str, Any],
    emit: Emit,
    *,
    opened: type[GuardedDownloader] = GuardedDownloader,
) -> dict[str, Any]:
    """A JSON object with the fields of ``Extraction``; ``info`` names a file in the workspace.

    When a recording has begun and its stream is not live any more, or its page cannot be read, what was recorded is the download.
    """
    followed = begun(Path(job["workspace"]))
    try:
        answer = _extract(job, settings, opened)
    except Exception:
        if followed is None:
            raise
        answer = None
    if followed is None or (answer is not None and answer["is_live"]):
        return answer or {}
    ask_to_finish(Path(job["workspace"]))
    _write(Path(job["workspace"]) / INFO_FILE, followed["info"])
    return dict(followed["answer"])


def _extract(job: dict[str, Any], settings: dict[str, Any], opened: type[GuardedDownloader]) -> dict[str, Any]:
    choice = choose(job["quality"], job["container"])
    url, item = page_and_item(job["url"])
    options = base_options(job, settings) | checked(
        {
            "format": choice.expression,
            "format_sort": list(choice.sort),
            "extract_flat": "in_playlist" if item is None else False,
            "lazy_playlist": True,
            "playlist_items": str(item or 1),
        }
    )
    if choice.target in VIDEO_TARGETS:
        options |= checked({"merge_output_format": choice.target})
    with opened(options) as downloader:
        downloader.tolerates_entries = item is None
        downloader.take_cookies(job)
        info = _one_video(downloader, read_page(downloader, url))
        info |= sent_title(downloader, info)
        if info.get("has_drm"):
            raise JobFailed(of_kind("drm"))
        if job.get("again"):
            info |= _as_before(info, job["again"])
        if is_live(info):
            info |= _chosen_while_live(downloader, info, choice)
        return _extraction(job, settings, downloader, info, choice)


def _chosen_while_live(downloader: GuardedDownloader, info: dict[str, Any], choice: Choice) -> dict[str, Any]:
    selector = downloader.build_format_selector(while_live(choice))
    chosen = downloader._select_formats(list(info.get("formats") or ()), selector)
    if not chosen:
        raise JobFailed(of_kind("unavailable_format", "The site streams this in a way that cannot be recorded here."))
    best = dict(chosen[-1])
    return {**best, "requested_downloads": [best], "requested_formats": best.get("requested_formats")}


def _as_before(info: dict[str, Any], wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """The formats whose addresses ran out, in place of today's choice; nothing when one of them is not offered any more."""
    found = find_again(list(info.get("formats") or ()), wanted)
    if found is None:
        return {}
    return {
        "requested_formats": found if len(found) > 1 else None,
        "requested_downloads": found,
        **(found[0] if len(found) == 1 else {}),
    }


def _one_video(downloader: GuardedDownloader, info: Any) -> dict[str, Any]:
    """A playlist of one is its video; of several, the user has to choose."""
    if not isinstance(info, dict):
        raise JobFailed(of_kind("removed"))
    if info.get("_type") not in PLAYLISTS:
        return info
    listed = list(info.get("entries") or ())
    if downloader.params["extract_flat"] is not False and info.get("playlist_count") != 1:
        raise JobFailed(of_kind("unsupported_site", "This address is a playlist; parse it and download its entries."))
    entries = [entry for entry in readable(listed) or () if isinstance(entry, dict)]
    if not entries:
        raise JobFailed(of_kind("removed"))
    if str(entries[0].get("_type")).startswith("url"):
        downloader.params["extract_flat"] = False
        return _one_video(downloader, downloader.process_ie_result(entries[0], download=False))
    return entries[0]


def _extraction(
    job: dict[str, Any], settings: dict[str, Any], downloader: Any, info: dict[str, Any], choice: Choice
) -> dict[str, Any]:
    taken: set[str] = set()
    duration = seconds(info.get("duration"))
    formats = [tame(form, taken) for form in requested(downloader.sanitize_info(info))]
    odd = next((str(form["protocol"]) for form in formats if UNFETCHABLE.match(str(form.get("protocol")))), None)
    if odd is not None:
        raise JobFailed(
            of_kind("unsupported_site", f"The site sends this over {odd[:20]} only, which cannot be fetched here.")
        )
    merged = len(formats) > 1
    if choice.target == "webm" and (info.get("ext") != "webm" or any(form["ext"] != "webm" for form in formats)):
        raise JobFailed(of_kind("unavailable_format", "The site has no WebM version of this video; choose mp4 or mkv."))
    broadcast = is_live(info)
    choice = _as_sound(choice, formats)
    for form in formats:
        downloader.carry_cookies(form)
    hosts = [urlsplit(str(form["url"])).hostname or "" for form in formats]
    cookies, is_direct = cookies_in(downloader.cookiejar, hosts), info.get("extractor_key") == "Generic"
    streams = [stream(form, merged=merged, cookies=cookies, duration=duration, is_direct=is_direct) for form in formats]
    if broadcast:
        streams = [each | {"kind": "native", "size_bytes": None, "fragments": [], "cookies": []} for each in streams]
    with_subtitles = choice.target in VIDEO_TARGETS and not choice.audio_only and not broadcast and job["subtitles"]
    subtitles = choose_subtitles(info) if with_subtitles else {}
    finished = _finished_ext(streams, formats, info, choice) if not subtitles else None
    if finished in MUXERS and choice.target != "original" and has_ffmpeg(settings) and are_worth_writing(info):
        finished = None  # it is copied once more, with what the page knows in it
    downloader.leave_cookies(job, formats)
    kept = _kept(downloader.sanitize_info(info), formats, subtitles)
    _write(Path(job["workspace"]) / INFO_FILE, kept)
    answer = {
        "title": text(info.get("title")) or text(info.get("id")) or "untitled",
        "site": text(info.get("extractor_key") or info.get("extractor"), limit=80) or "unknown",
        "streams": streams,
        "info": {"file": INFO_FILE, "target": choice.target, "audio_only": choice.audio_only},
        "duration_seconds": duration,
        "estimated_bytes": None if broadcast else total(formats, duration),
        "finished_ext": None if broadcast else finished,
        "is_live": broadcast,
    }
    if broadcast:
        follow(Path(job["workspace"]), answer, kept)
    return answer


def has_ffmpeg(settings: dict[str, Any]) -> bool:
    return (Path(settings["programs"]) / "ffmpeg").exists()


def _as_sound(choice: Choice, formats: list[dict[str, Any]]) -> Choice:
    """Where nothing has a picture, the sound as the site serves it is what there is: no film is made of a podcast."""
    if choice.target not in VIDEO_TARGETS or any(form.get("vcodec") != "none" for form in formats):
        return choice
    return replace(choice, target="original", audio_only=True)


def _finished_ext(
    streams: list[dict[str, Any]], formats: list[dict[str, Any]], info: dict[str, Any], choice: Choice
) -> str | None:
    """The extension when the one file the site serves already is what was asked for, bit for bit."""
    if len(streams) != 1 or streams[0]["kind"] != "file" or formats[0].get("container") == "m4a_dash":
        return None
    ext = str(formats[0]["ext"])
    if choice.audio_only and formats[0].get("vcodec") != "none":
        return None
    return ext if choice.target == ext or (choice.target == "original" and ext != "bin") else None


def _kept(info: dict[str, Any], formats: list[dict[str, Any]], subtitles: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in info.items() if name not in DROPPED and not name.startswith("__")}
    kept.pop("cookies", None)  # they are the formats'
    for form in formats:
        form["protocol"] = "m3u8_native" if form.get("protocol") == "m3u8" else form.get("protocol")
    if len(formats) > 1:
        kept["requested_formats"] = formats
    else:
        kept.pop("requested_formats", None)
        kept |= formats[0]
    thumbnails = [each for each in info.get("thumbnails") or () if isinstance(each, dict) and each.get("url")]
    # Recorded is recorded: for phase two it is a file like any other, not something to fetch from a live stream.
    over = {"is_live": False, "live_status": "was_live"} if is_live(info) else {}
    return kept | over | {"thumbnails": thumbnails[-3:], "requested_subtitles": subtitles or None}


def _write(path: Path, info: dict[str, Any]) -> None:
    """Atomic: a second extraction of a running download replaces the file while nobody reads half of it."""
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(info), encoding="ascii")
    fresh.replace(path)
