"""A site for tests: ``http://HOST/vasset-test/<case>?media=<origin URL of the media folder>`` plays what ``case`` names."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from yt_dlp.extractor.common import ExtractorError, InfoExtractor
from yt_dlp.utils import GeoRestrictedError, UserNotLive

LIMITS = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE")


class VassetTestIE(InfoExtractor):  # type: ignore[misc]
    IE_NAME = "vasset-test"
    _VALID_URL = r"https?://[^/]+/vasset-test/(?P<id>[a-z0-9-]+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        case = self._match_id(url)
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        act = getattr(self, "_act_" + case.replace("-", "_"))
        result = {"id": case, "title": f"Test video {case}", "duration": 6}
        answer: dict[str, Any] = act(url, query.get("media", ""), query)
        return result | answer

    def _act_separate(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        chapters = [{"start_time": 0, "end_time": 3, "title": "One"}, {"start_time": 3, "end_time": 6, "title": "Two"}]
        return {"formats": _separate(media), "chapters": chapters, "thumbnail": query.get("thumbnail"),
                "subtitles": {"en": [{"url": query["subtitle"], "ext": "vtt"}]} if "subtitle" in query else {}}  # fmt: skip

    def _act_dubbed(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        video, audio = _separate(media)
        dubbed = audio | {"format_id": "dub", "language": "de", "language_preference": -1, "abr": 320, "tbr": 320}
        return {"formats": [video, audio | {"language": "en", "language_preference": 10}, dubbed]}

    def _act_progressive(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        name = query.get("name", "progressive.mp4")
        return {"formats": [{"format_id": "18", "url": media + name, "ext": query.get("ext", "mp4"), "height": 360,
                             "width": 640, "vcodec": "avc1.42c01e", "acodec": "mp4a.40.2", "tbr": 900,
                             "downloader_options": {"http_chunk_size": 10 << 20}}]}  # fmt: skip

    def _act_file(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """One file at any ``address``, of which the site says nothing but its extension."""
        return {"formats": [{"format_id": "f", "url": query["address"], "ext": query["ext"]}]}

    def _act_tagged(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """A song that needs no conversion, on a page that knows who plays it."""
        form = {
            "format_id": "140",
            "url": media + "audio_only.m4a",
            "ext": "m4a",
            "vcodec": "none",
            "acodec": "mp4a.40.2",
        }
        chapters = [{"start_time": 0, "end_time": 3, "title": "One = 1; #"}, {"start_time": 3, "title": "Two"}]
        return {
            "formats": [form],
            "artist": "Band",
            "track": "Song",
            "chapters": chapters,
            "thumbnail": query["thumbnail"],
        }

    def _act_subtitled(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """``subtitles`` is what an extractor would answer, as JSON."""
        return {"formats": _separate(media), "subtitles": json.loads(query["subtitles"])}

    def _act_bare(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """An address and no formats, as about 150 extractors answer."""
        return {"url": media + query.get("name", "progressive.mp4"), "ext": query.get("ext", "mp4")}

    def _act_carousel(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """Three entries on one page; the second is a picture, or protected."""
        film = self._act_progressive(url, media, query)["formats"]
        odd = [{**film[0], "has_drm": True}] if "drm" in query else []
        entries = [
            {"id": f"e{n}", "title": f"Entry {n}", "formats": odd if n == 2 else [dict(film[0])]} for n in (1, 2, 3)
        ]
        return {"_type": "playlist", "entries": entries[1:2] if "only" in query else entries}

    def _act_named(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """Ids as sites choose them."""
        film = self._act_progressive(url, media, query)["formats"][0]
        names = [
            "高清 1080P",
            "qualité-élevée",
            'it\'s \\ "quoted"',
            "(main)[0],a/b",
            "x" * 90,
            "hls-audio-हिन्दी-0",
            "മല\u200dയാളം",
            "18",
        ]
        return {"formats": [{**film, "format_id": name, "tbr": 100 + n} for n, name in enumerate(names)]}

    def _act_hls(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        return {"formats": self._extract_m3u8_formats(media + query.get("name", "hls/index.m3u8"), "hls", "mp4")}

    def _act_playlist(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """An HLS playlist at any ``address``, not looked at before."""
        return {"formats": [{"format_id": "hls", "url": query["address"], "ext": "mp4", "protocol": "m3u8_native"}]}

    def _act_dash(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        return {"formats": self._extract_mpd_formats(media + "dash/index.mpd", "dash")}

    def _act_fetch(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """Ask for any address the test names, as a hostile page would have an extractor do."""
        self._download_webpage(query["target"], "fetch", impersonate="chrome" if query.get("browser") else None)
        return self._act_progressive(url, media, query)

    def _act_long(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """5,000 entries; the last one handed out is written to ``note``."""

        def entries() -> Any:
            for number in itertools.count(1):
                if number > 5000:
                    return
                if "note" in query:
                    Path(query["note"]).write_text(str(number))
                yield self.url_result(f"http://example.com/watch/{number}", video_title=f"Video {number}")

        return {"_type": "playlist", "entries": entries(), "playlist_count": 5000}

    def _act_endless(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        entries = (self.url_result(f"http://example.com/{number}") for number in itertools.count())
        return {"_type": "playlist", "entries": entries}

    def _act_live(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """On air at ``address`` for as long as the file ``note`` is not there; ``browser`` asks for a browser's handshake."""
        if "note" in query and Path(query["note"]).exists():
            raise UserNotLive()
        form = {"format_id": "live", "url": query["address"], "ext": query.get("ext", "mp4"),
                "protocol": query.get("protocol", "m3u8_native")} | ({"impersonate": True} if "browser" in query else {})  # fmt: skip
        if "audio" not in query:
            return {"is_live": True, "formats": [form], "duration": None}
        sound = form | {
            "format_id": "sound",
            "url": query["audio"],
            "ext": "m4a",
            "vcodec": "none",
            "acodec": "mp4a.40.2",
        }
        picture = form | {"vcodec": "avc1.42c01e", "acodec": "none", "height": 360}
        return {"is_live": True, "formats": [sound, picture], "duration": None}

    def _act_premiere(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """As YouTube does it: no formats, and the time only for who asks without insisting on formats."""
        self.raise_no_formats("Premieres in 3 hours", expected=True)
        return {"formats": [], "live_status": "is_upcoming", "release_timestamp": 1_800_000_000}

    def _act_browser(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """A file that is served to browsers only."""
        return {"formats": [{"format_id": "b", "url": query["address"], "ext": "mp4", "impersonate": True}]}

    def _act_hang(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        while True:
            time.sleep(60)

    def _act_spawn(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """Start a program of its own, tell its number by way of ``note``, and hang."""
        process = subprocess.Popen(["/bin/sleep", "600"])
        Path(query["note"]).write_text(f"{os.getpid()} {process.pid}")
        return self._act_hang(url, media, query)

    def _act_spin(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        while True:
            pass

    def _act_crash(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}

    def _act_eat(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        hoard = []
        while True:
            hoard.append(bytearray(32 << 20))

    def _act_shout(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """Answer more than one message may hold."""
        pieces = [{"url": f"{media}{number:0100d}"} for number in range(150_000)]
        form = {"url": media, "ext": "mp4", "protocol": "http_dash_segments", "fragments": pieces, "format_id": "many"}
        return {"formats": [form]}

    def _act_state(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        """Write down what this process sees: its environment, limits and folder."""
        seen = {
            "environment": dict(os.environ),
            "pid": os.getpid(),
            "group": os.getpgid(0),
            "folder": str(Path.cwd()),
            "niceness": os.getpriority(os.PRIO_PROCESS, 0),
            "limits": {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
        }
        Path(query["note"]).write_text(json.dumps(seen))
        return self._act_progressive(url, media, query)

    def _act_fail(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        raise ExtractorError(query["words"], expected=True)

    def _act_geo(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        raise GeoRestrictedError("not here", countries=["AQ"])

    def _act_offline(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        raise UserNotLive()

    def _act_warn(self, url: str, media: str, query: dict[str, str]) -> dict[str, Any]:
        self.report_warning("fetched " + query["words"])
        return self._act_progressive(url, media, query)


def _separate(media: str) -> list[dict[str, Any]]:
    video = {"format_id": "137", "url": media + "video_only.mp4", "ext": "mp4", "height": 360, "width": 640, "vcodec": "avc1.42c01e",
             "acodec": "none", "tbr": 900, "filesize_approx": 600_000}  # fmt: skip
    audio = {"format_id": "140", "url": media + "audio_only.m4a", "ext": "m4a", "vcodec": "none", "acodec": "mp4a.40.2", "abr": 96,
             "tbr": 96}  # fmt: skip
    return [video, audio]
