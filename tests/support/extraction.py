"""What the tests of extraction share: the test site's addresses, a canary, and the engine's part done by hand."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.lying_origin import Answer, Asked, Behaviour
from tests.support.origin import Origin
from vasset.domain.media import Container, Extraction
from vasset.domain.ports import ExtractionRequest

PLUGINS = Path(__file__).parent / "plugins"


@dataclass
class Canary:
    """A listener nobody may reach; ``hits`` counts who did."""

    port: int = 0
    hits: list[bytes] = field(default_factory=list)


@dataclass
class Site:
    """Addresses of the test site on the real origin."""

    origin: Origin
    access_log: Path

    def url(self, case: str, **query: str) -> str:
        words = "".join(f"&{name}={value}" for name, value in query.items())
        return f"http://{self.origin.address}/vasset-test/{case}?media=http://{self.origin.address}/media/{words}"

    def requests_for(self, name: str) -> int:
        return self.access_log.read_text().count(f"/{name} ")


def request(
    url: str, workspace: Path, quality: str = "best", container: str = "mp4", **more: float
) -> ExtractionRequest:
    return ExtractionRequest(url, quality, Container(container), "task-1", workspace, **more)  # type: ignore[arg-type]


def fetch(extraction: Extraction, workspace: Path) -> None:
    """Do the engine's part for streams that need no playlist."""
    for stream in extraction.streams:
        urls = [fragment.url for fragment in stream.fragments] or [stream.url]
        body = b"".join(urllib.request.urlopen(url, timeout=10).read() for url in urls)
        (workspace / stream.file_name).write_bytes(body)


def natively(extraction: Extraction) -> Extraction:
    """What the worker does when the engine answers ``Unsupported``."""
    streams = [dataclasses.replace(stream, kind="native") for stream in extraction.streams]
    return dataclasses.replace(extraction, streams=streams)


def probe(path: str) -> dict[str, Any]:
    """What ffprobe says about a finished file."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", "-show_chapters", path]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout))


def codecs(path: str) -> list[str]:
    return [stream["codec_name"] for stream in probe(path)["streams"] if stream["codec_type"] in {"video", "audio"}]


def sending(body: bytes) -> Behaviour:
    """Answer with these bytes, whatever was asked."""

    async def behave(asked: Asked, answer: Answer) -> None:
        await answer.head("200 OK", Content_Length=len(body))
        await answer.body(body)

    return behave


def redirecting(target: str) -> Behaviour:
    async def behave(asked: Asked, answer: Answer) -> None:
        await answer.head("302 Found", Location=target, Content_Length=0)

    return behave
