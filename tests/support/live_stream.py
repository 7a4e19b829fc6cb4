"""A live HLS stream on the lying origin: a window that slides only when the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.support.lying_origin import Answer, Asked, Behaviour, LyingOrigin, honest
from tests.support.media import Media

WINDOW = 3


@dataclass
class LiveStream:
    """``published`` segments have been on air; the playlist lists the last ``WINDOW`` of them."""

    origin: LyingOrigin
    segments: list[bytes]
    name: str
    published: int = WINDOW
    has_ended: bool = False
    status: str = "200 OK"
    head: bytes | None = None
    key_line: str = ""
    listed_first: list[int] = field(default_factory=list)
    """The first segment of every window that was handed out."""

    def __post_init__(self) -> None:
        self.origin.routes[f"/{self.name}/index.m3u8"] = self._playlist()
        for number, body in enumerate(self.segments):
            self.origin.routes[f"/{self.name}/{number}"] = honest(body, content_type="video/mp2t")
        if self.head is not None:
            self.origin.routes[f"/{self.name}/head"] = honest(self.head)

    @property
    def url(self) -> str:
        return self.origin.url(f"/{self.name}/index.m3u8")

    @property
    def everything(self) -> bytes:
        return b"".join(self.segments)

    async def air(self, count: int = 1) -> None:
        """Reveal ``count`` more segments, one window at a time, and return when the last one was fetched."""
        await self.fetched(self.published - 1)
        for _ in range(count):
            self.published += 1
            await self.fetched(self.published - 1)

    async def fetched(self, number: int) -> None:
        await self.origin.reached(f"/{self.name}/{number}")
        await self.origin.sent(f"/{self.name}/{number}", len(self.segments[number]))

    def end(self) -> None:
        self.has_ended = True

    def _playlist(self) -> Behaviour:
        async def behave(asked: Asked, answer: Answer) -> None:
            if self.status != "200 OK":
                await answer.head(self.status, Content_Length=0)
                return
            first = max(0, self.published - WINDOW)
            self.listed_first.append(first)
            lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
            lines += [self.key_line] if self.key_line else []
            lines += ['#EXT-X-MAP:URI="head"'] if self.head is not None else []
            for number in range(first, self.published):
                lines += ["#EXTINF:1.0,", str(number)]
            lines += ["#EXT-X-ENDLIST"] if self.has_ended else []
            body = ("\n".join(lines) + "\n").encode()
            await answer.head("200 OK", Content_Type="application/vnd.apple.mpegurl", Content_Length=len(body))
            await answer.body(body)

        return behave


def transport_segments(media: Media) -> list[bytes]:
    return [path.read_bytes() for path in sorted((media.folder / "hls").glob("part*.ts"))]


def read_all(folder: Path, pattern: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob(pattern))]
