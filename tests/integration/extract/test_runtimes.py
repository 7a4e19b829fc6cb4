"""What yt-dlp can really use is told by the yt-dlp in use, not by a list of packages."""

from __future__ import annotations

import asyncio
from importlib.metadata import requires, version
from pathlib import Path

import pytest

from vasset.adapters.extract import runtimes as examined
from vasset.adapters.extract.programs import Programs
from vasset.adapters.extract.runtimes import examine_runtimes

pytestmark = pytest.mark.xdist_group("extract")


async def test_what_is_installed_and_fits_is_usable() -> None:
    found = {runtime.name: runtime.version for runtime in await examine_runtimes()}
    assert found["yt-dlp"] == version("yt-dlp")
    assert found["deno"] == version("deno")
    assert found["yt-dlp-ejs"] == version("yt-dlp-ejs")
    assert found["curl-cffi"] == version("curl-cffi")
    assert None not in found.values()


async def test_what_is_missing_is_named_with_what_it_is_needed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(folder: Path) -> Programs:
        folder.mkdir()
        return Programs(folder, has_ffmpeg=False, deno=None)

    monkeypatch.setattr(examined, "install_programs", nothing)
    found = {runtime.name: runtime for runtime in await asyncio.wait_for(examine_runtimes(), 60)}
    assert (found["deno"].version, found["ffmpeg"].version) == (None, None)
    assert "YouTube" in str(found["deno"].problem)


def test_the_product_asks_for_what_its_yt_dlp_takes() -> None:
    """An own range would be right for one yt-dlp; the extras follow each."""
    wanted = [line for line in requires("yt-dlp") or () if line.startswith(("curl-cffi", "yt-dlp-ejs"))]
    assert len(wanted) >= 2
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"yt-dlp[curl-cffi,default]' in project
