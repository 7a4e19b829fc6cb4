"""YouTube as its own extractor meets it, without a network: canned answers under the real names, and a player script of our own.

The script is just enough of one for yt-dlp's solver (ejs, run by the real deno) to find and run the two functions that turn ``n`` and
``sig`` into what the video servers accept. No socket is opened: the answers replace yt-dlp's ``urlopen``.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from yt_dlp.networking import Request
from yt_dlp.networking.common import Response

from vasset.adapters.extract.child.downloader import GuardedDownloader

VIDEO = "testvideo01"
ADDRESS = f"https://www.youtube.com/watch?v={VIDEO}"
LENGTH = 30_000_000
SKIP_AFTER_SECONDS = 5
ENCRYPTED = "0123456789abcdef" * 6
UNSOLVED = "abcDEF123456"
PLAYER = r"""
var _yt_player={};(function(g){var window=this;
var Make=function(u,p,v){u=new Address(u);u.set("alr","yes");v&&(v=Sign(decodeURIComponent(v)),u.set(p,encodeURIComponent(v)));return u};
var Address=function(u){this.m={};this.u=u};
Address.prototype.set=function(k,v){this.m[k]=v};
Address.prototype.get=function(k){return this.m[k]};
Address.prototype.clone=function(){return this};
Address.prototype.xform=function(){if(this.m.n)this.m.n=Turn(this.m.n)};
var Sign=function(a){return a.split("").reverse().slice(2).join("")};
var Turn=function(a){return a.split("").map(function(c){return String.fromCharCode(c.charCodeAt(0)^1)}).reverse().join("")};
})(_yt_player);
"""


def solved_n(challenge: str) -> str:
    """What ``Turn`` makes of it."""
    return "".join(chr(ord(character) ^ 1) for character in reversed(challenge))


def solved_signature(encrypted: str) -> str:
    """What ``Sign`` makes of it."""
    return encrypted[::-1][2:]


def advertisement(skip_after_seconds: int) -> dict[str, Any]:
    shown = {"playerVars": "length_seconds=30", "skipOffsetMilliseconds": skip_after_seconds * 1_000}
    place = {
        "config": {"adPlacementConfig": {"kind": "AD_PLACEMENT_KIND_START"}},
        "renderer": {"instreamVideoAdRenderer": shown},
    }
    return {"adPlacements": [{"adPlacementRenderer": place}]}


def sound(language: str, is_default: bool) -> dict[str, Any]:
    track = {"displayName": language, "id": f"{language}.4", "audioIsDefault": is_default}
    return {"audioQuality": "AUDIO_QUALITY_MEDIUM", "audioSampleRate": "44100", "audioTrack": track}


@dataclass
class CannedYoutube:
    """``refusal`` is what the players' API says instead of a video; ``player`` the script it sends along."""

    with_advertisement: bool = True
    refusal: str | None = None
    player: str = PLAYER
    tracks: list[tuple[str, bool]] = field(default_factory=lambda: [("en", True)])
    asked: list[str] = field(default_factory=list)

    def downloader(self) -> type[GuardedDownloader]:
        answer: Callable[[Any], tuple[str, str]] = self._answer

        class Canned(GuardedDownloader):
            def urlopen(self, req: Any) -> Any:
                request = Request(req) if isinstance(req, str) else req
                body, kind = answer(request)
                return Response(io.BytesIO(body.encode()), request.url, {"Content-Type": kind})

        return Canned

    def _answer(self, request: Any) -> tuple[str, str]:
        self.asked.append(request.url.partition("?")[0])
        if "/youtubei/v1/player" in request.url:
            client = json.loads(request.data)["context"]["client"]["clientName"]
            return json.dumps(self._playback(client)), "application/json"
        if "/youtubei/v1/next" in request.url:
            return json.dumps({"contents": {"x": 1}}), "application/json"
        if request.url.endswith(".js"):
            return self.player, "text/javascript"
        return self._page(), "text/html"

    def _page(self) -> str:
        context = {
            "client": {"clientName": "WEB", "clientVersion": "2.20261101", "visitorData": "CgtWSVNJVE9SREFUQQ%3D%3D"}
        }
        settings = {
            "INNERTUBE_CONTEXT": context, "VISITOR_DATA": "CgtWSVNJVE9SREFUQQ%3D%3D", "STS": 20_400,
            "WEB_PLAYER_CONTEXT_CONFIGS": {"A": {"jsUrl": "/s/player/deadbeef/player_ias.vflset/en_US/base.js"}},
        }  # fmt: skip
        first = (
            self._playback("WEB")
            if self.refusal
            else {"videoDetails": self._details(), "playabilityStatus": {"status": "OK"}}
        )
        return (
            f"<html><script>ytcfg.set({json.dumps(settings)});</script>"
            f"<script>var ytInitialPlayerResponse = {json.dumps(first)};</script>"
            f"<script>var ytInitialData = {json.dumps({'contents': {'x': 1}})};</script></html>"
        )

    def _playback(self, client: str) -> dict[str, Any]:
        if self.refusal is not None:
            status = {"status": "LOGIN_REQUIRED", "reason": self.refusal}
            return {"playabilityStatus": status, "videoDetails": self._details()}
        formats = [
            self._format(
                137, 'video/mp4; codecs="avc1.640028"', client, width=1920, height=1080, fps=30, qualityLabel="1080p"
            )
        ]
        formats += [
            self._format(140, 'audio/mp4; codecs="mp4a.40.2"', client, **sound(*track)) for track in self.tracks
        ]
        advertised = advertisement(SKIP_AFTER_SECONDS) if self.with_advertisement else {}
        data = {"expiresInSeconds": "21540", "adaptiveFormats": formats}
        return {
            "playabilityStatus": {"status": "OK"},
            "videoDetails": self._details(),
            "streamingData": data,
        } | advertised

    def _format(self, itag: int, mime: str, client: str, **more: Any) -> dict[str, Any]:
        query = {"expire": int(time.time()) + 21_600, "itag": itag, "clen": LENGTH, "c": client, "n": UNSOLVED}
        address = f"https://rr1---sn-test.googlevideo.com/videoplayback?{urlencode(query)}"
        cipher = urlencode({"s": ENCRYPTED, "sp": "sig", "url": address})
        form = {
            "itag": itag,
            "mimeType": mime,
            "bitrate": 1_000_000,
            "contentLength": str(LENGTH),
            "approxDurationMs": "60000",
        }
        return form | more | {"signatureCipher": cipher}

    def _details(self) -> dict[str, Any]:
        return {
            "videoId": VIDEO, "title": "Canned video", "lengthSeconds": "60", "isLiveContent": False, "shortDescription": "x",
            "channelId": f"UC{'a' * 22}", "author": "a",
        }  # fmt: skip
