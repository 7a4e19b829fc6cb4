"""The canary's part inside a child: phase one over a manifest that comes from here instead of from a site."""

from __future__ import annotations

import io
from typing import Any

import yt_dlp
from yt_dlp.networking.common import Response

from vasset.adapters.extract.child import extract
from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.job import Emit

PAGE = "https://vasset.invalid/canary.mpd"
SEGMENTS = '<SegmentTemplate timescale="1" duration="1" startNumber="1" initialization="$RepresentationID$-0" media="$RepresentationID$-$Number$"/>'
MANIFEST = f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>
<AdaptationSet contentType="video" mimeType="video/mp4"><Representation id="v" bandwidth="90000" width="64" height="64" codecs="avc1.42c00a">
{SEGMENTS}</Representation></AdaptationSet>
<AdaptationSet contentType="audio" mimeType="audio/mp4"><Representation id="a" bandwidth="9000" codecs="mp4a.40.2">
{SEGMENTS}</Representation></AdaptationSet></Period></MPD>"""


class CannedDownloader(GuardedDownloader):
    """Every request is answered with the manifest; nothing is sent."""

    def urlopen(self, req: Any) -> Any:
        return Response(io.BytesIO(MANIFEST.encode()), PAGE, {"Content-Type": "application/dash+xml"})


def selftest(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """What phase one makes of the manifest, and where yt-dlp was loaded from."""
    wanted = {**job, "url": PAGE, "quality": "best", "container": "mp4", "subtitles": True}
    extraction = extract.extract(wanted, settings, emit, opened=CannedDownloader)
    return {"loaded_from": str(yt_dlp.__file__), "extraction": extraction}
