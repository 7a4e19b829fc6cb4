"""The real YouTube extractor, solver and deno over canned answers: what reaches the engine, and what a refusal is called."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.canned_youtube import (
    ADDRESS,
    ENCRYPTED,
    LENGTH,
    SKIP_AFTER_SECONDS,
    UNSOLVED,
    CannedYoutube,
    solved_n,
    solved_signature,
)
from vasset.adapters.extract.child import log
from vasset.adapters.extract.child.extract import extract
from vasset.adapters.extract.child.failure import classify
from vasset.adapters.extract.extractor import KNOWN_BY

pytestmark = pytest.mark.xdist_group("extract")
SETTINGS = {"deno": str(Path(sys.executable).with_name("deno")), "programs": "/usr/bin"}


def read(site: CannedYoutube, workspace: Path, again: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    job = {
        "verb": "extract", "task_id": "t", "url": ADDRESS, "quality": "best", "container": "mp4", "proxy": "http://127.0.0.1:9",
        "workspace": str(workspace), "subtitles": True, "again": again or [],
    }  # fmt: skip
    log.forget()
    return extract(job, SETTINGS, lambda message: None, opened=site.downloader())


def known_by(stream: dict[str, Any]) -> dict[str, Any]:
    return {name: stream[name] for name in KNOWN_BY}


def test_the_engine_gets_solved_addresses_and_the_moment_they_begin_to_work(workspace: Path) -> None:
    before = time.time()
    streams = read(CannedYoutube(), workspace)["streams"]
    assert [(stream["format_id"], stream["codecs"]) for stream in streams] == [
        ("137", "avc1.640028+none"),
        ("140", "none+mp4a.40.2"),
    ]
    for stream in streams:
        query = {name: values[0] for name, values in parse_qs(urlsplit(stream["url"]).query).items()}
        assert (query["n"], query["sig"]) == (solved_n(UNSOLVED), solved_signature(ENCRYPTED))
        assert stream["size_bytes"] == LENGTH
        assert before + SKIP_AFTER_SECONDS - 1 <= stream["available_at"] <= time.time() + SKIP_AFTER_SECONDS + 2


def test_nothing_is_waited_for_where_nothing_is_advertised(workspace: Path) -> None:
    streams = read(CannedYoutube(with_advertisement=False), workspace)["streams"]
    assert all((stream["available_at"] or 0) <= time.time() for stream in streams)


def test_a_renewal_finds_the_same_track_under_another_number(workspace: Path) -> None:
    """With a second language the site's ``140`` becomes ``140-0`` and ``140-1``; under the old name comes what was being fetched."""
    first = read(CannedYoutube(), workspace)["streams"]
    site = CannedYoutube(tracks=[("de", True), ("en", False)])
    chosen_afresh = read(site, workspace)["streams"]
    assert chosen_afresh[1]["language"] == "de"
    wanted = [known_by(stream | {"language": "en"} if stream["format_id"] == "140" else stream) for stream in first]
    fresh = read(site, workspace, again=wanted)["streams"]
    assert [(stream["file_name"], stream["format_id"]) for stream in fresh] == [
        ("media.f137.mp4", "137"),
        ("media.f140.m4a", "140"),
    ]
    assert fresh[1]["language"] == "en"


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        (CannedYoutube(refusal="Sign in to confirm you’re not a bot"), "bot_check"),
        (CannedYoutube(refusal="This video is private"), "private"),
        (CannedYoutube(refusal="Join this channel to get access to members-only content like this video, and other exclusive perks."), "members_only"),
        (CannedYoutube(player="var nothing = 1;"), "challenge_unsolved"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_refusals_of_the_real_extractor_have_their_kind(site: CannedYoutube, kind: str, workspace: Path) -> None:
    with pytest.raises(Exception) as refused:
        read(site, workspace)
    assert classify(refused.value, log.heard()).kind == kind


def test_a_server_without_a_runtime_says_so(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "deno", "")
    with pytest.raises(Exception) as refused:
        read(CannedYoutube(), workspace)
    assert classify(refused.value, log.heard()).kind == "runtime_missing"
