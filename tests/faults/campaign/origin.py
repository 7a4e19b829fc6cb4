"""What the campaign downloads: small files from a real nginx behind a cutting proxy, and a few from an origin that lies."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.cutting_proxy import CuttingProxy
from tests.support.lying_origin import (
    Behaviour,
    LyingOrigin,
    changes_version,
    ignores_range,
    resets,
    running_lying_origin,
    shortens,
)
from tests.support.media import Media
from tests.support.origin import Origin, running_origin

MERGED = "separate.mpd"
SENT = re.compile(r'" 20[06] (\d+) ')


@dataclass(frozen=True)
class Chosen:
    """One file to ask for: ``digests`` are the acceptable contents, none when only a merge can tell."""

    url: str
    digests: tuple[str, ...]


@dataclass
class CampaignOrigin:
    """Every :meth:`choose` is a URL of its own, so that a task can be told by its URL."""

    honest: Origin
    proxy: CuttingProxy
    lying: LyingOrigin
    folder: Path
    bodies: dict[str, bytes]
    merged_digest: str | None = None
    _lies: list[Callable[[bytes], Behaviour]] = field(
        default_factory=lambda: [
            lambda body: resets(body, times=1),
            lambda body: shortens(body, times=1),
            ignores_range,
        ]
    )

    @property
    def egress_allow(self) -> str:
        return f"127.0.0.1:{self.proxy.port},localhost:{self.lying.port}"

    def choose(self, chance: random.Random, label: str) -> Chosen:
        kind = chance.random()
        if kind < 0.02:
            return Chosen(self._url("media/none.mp4", label), ("no such file",))
        if kind < 0.10:
            return self._lie(chance, label)
        if kind < 0.14:
            return self.merged(label)
        small, large = [name for name in self.bodies if name < "f30"], [name for name in self.bodies if name >= "f30"]
        if kind < 0.18:  # one to two seconds: longer ones would never end between two kills
            name = chance.choice([name for name in small if 60_000 < len(self.bodies[name]) < 130_000])
            return Chosen(self._url(f"slow/{name}", label), (digest(self.bodies[name]),))
        name = chance.choice(large if kind < 0.22 else small)
        return Chosen(self._url(f"media/{name}", label), (digest(self.bodies[name]),))

    def merged(self, label: str) -> Chosen:
        known = () if self.merged_digest is None else (self.merged_digest,)
        return Chosen(self._url(f"media/{MERGED}", label), known)

    def sent_bytes(self) -> int:
        """Bodies nginx has sent, whoever asked and however often."""
        text = (self.folder / "access.log").read_text()
        return sum(int(size) for size in SENT.findall(text)) + sum(self.lying.sent_bytes.values())

    def size_of(self, digests: tuple[str, ...] | list[str]) -> int:
        sizes = {digest(body): len(body) for body in self.bodies.values()}
        return max((sizes.get(one, 0) for one in digests), default=0)

    def _url(self, path: str, label: str) -> str:
        return f"http://127.0.0.1:{self.proxy.port}/{path}?k={label}"

    def _lie(self, chance: random.Random, label: str) -> Chosen:
        path = f"/lie.mp4?k={label}"
        body = self.bodies[chance.choice([name for name in self.bodies if name < "f30"])]
        if chance.random() < 0.2:
            other = body[:-16] + chance.randbytes(16)
            self.lying.routes[path] = changes_version(body, other, at_request=3)
            digests: tuple[str, ...] = (digest(body), digest(other))
        else:
            self.lying.routes[path] = chance.choice(self._lies)(body)
            digests = (digest(body),)
        return Chosen(f"http://localhost:{self.lying.port}{path}", digests)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@asynccontextmanager
async def campaign_origin(folder: Path, chance: random.Random) -> AsyncIterator[CampaignOrigin]:
    media = _make_media(folder / "media", chance)
    folder.chmod(0o755)
    bodies = {path.name: path.read_bytes() for path in sorted(media.folder.glob("f*.mp4"))}
    proxy = CuttingProxy()
    with running_origin(folder, media) as honest:
        proxy.target_port = honest.port
        await proxy.start()
        try:
            async with running_lying_origin() as lying:
                yield CampaignOrigin(honest, proxy, lying, folder, bodies)
        finally:
            await proxy.stop()


def _make_media(folder: Path, chance: random.Random) -> Media:
    """One small real video; every file begins with it and ends with bytes of its own: 34 files of 12 KB to 3 MB."""
    folder.mkdir(parents=True)
    picture = ["-f", "lavfi", "-i", "testsrc2=size=64x36:rate=10:duration=1"]
    tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart"]
    _ffmpeg(folder, *picture, *tone, *coded, "-shortest", "video.mp4")
    _ffmpeg(folder, "-i", "video.mp4", "-c", "copy", "-an", "-movflags", "+faststart", "video_only.mp4")
    _ffmpeg(folder, "-i", "video.mp4", "-c", "copy", "-vn", "-movflags", "+faststart", "audio_only.m4a")
    video = (folder / "video.mp4").read_bytes()
    for number in range(34):
        size = int(3_000 * 1.17**number) if number < 30 else 750_000 * (number - 29)
        (folder / f"f{number:02}.mp4").write_bytes(video + chance.randbytes(size))
    (folder / MERGED).write_text(_manifest())
    return Media(folder)


def _manifest() -> str:
    return """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"
     mediaPresentationDuration="PT1S" minBufferTime="PT1S"><Period>
  <AdaptationSet contentType="video" mimeType="video/mp4"><Representation id="v" bandwidth="90000" width="64" height="36"
    codecs="avc1.42c00a"><BaseURL>video_only.mp4</BaseURL></Representation></AdaptationSet>
  <AdaptationSet contentType="audio" mimeType="audio/mp4" lang="en"><Representation id="a" bandwidth="69000"
    codecs="mp4a.40.2"><BaseURL>audio_only.m4a</BaseURL></Representation></AdaptationSet>
</Period></MPD>
"""


def _ffmpeg(folder: Path, *arguments: str) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
