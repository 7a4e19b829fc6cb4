"""Another yt-dlp: proved before it is used, taken up by running servers, given back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import yt_dlp

from tests.support.extraction import PLUGINS, Site
from vasset._engine import GuardProxy
from vasset.adapters.extract.assemble import ExtractorOptions, open_extractor
from vasset.adapters.extract.channel import Channel
from vasset.domain.errors import Conflict, ExtractionFailed, InvalidInput, TaskError

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("extract")]

INSTALLED = str(yt_dlp.version.__version__)


def candidate(folder: Path, version: str) -> Path:
    """The installed yt-dlp under another number, by links where the file system allows."""
    package = folder / version / "yt_dlp"
    shutil.copytree(Path(yt_dlp.__file__).parent, package, copy_function=_link_or_copy)
    words = (package / "version.py").read_text().replace(f"'{INSTALLED}'", f"'{version}'", 1)
    (package / "version.py").unlink()
    (package / "version.py").write_text(words)
    for compiled in (package / "__pycache__").glob("version.*"):
        compiled.unlink()
    return folder / version


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


async def test_an_update_is_proved_used_by_a_running_server_and_taken_back(
    guard: GuardProxy, site: Site, tmp_path: Path
) -> None:
    channel = Channel(tmp_path / "channel")
    (tmp_path / "channel").mkdir()
    async with open_extractor(guard, ExtractorOptions(plugins=PLUGINS, channel=tmp_path / "channel")) as opened:
        assert (await opened.describe(site.url("separate"))).extractor_version == INSTALLED
        assert await channel.adopt(candidate(tmp_path, "2099.1.2")) == "2099.1.2"
        assert channel.status().current == "2099.1.2"
        assert (await opened.describe(site.url("separate"))).extractor_version == "2099.1.2"
        assert channel.rollback() is None
        assert (await opened.describe(site.url("separate"))).extractor_version == INSTALLED


async def test_a_broken_candidate_changes_nothing(tmp_path: Path) -> None:
    channel = Channel(tmp_path / "channel")
    (tmp_path / "channel").mkdir()
    broken = tmp_path / "broken" / "yt_dlp"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('half an upload')\n")
    with pytest.raises(TaskError):
        await channel.adopt(tmp_path / "broken")
    assert channel.status().current is None


async def test_a_folder_without_yt_dlp_is_not_mistaken_for_the_installed_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExtractionFailed, match="not the one that was loaded"):
        await Channel(tmp_path / "channel").adopt(tmp_path / "empty")


async def test_a_version_that_broke_after_its_canary_gives_way_to_the_installed_one(
    guard: GuardProxy, site: Site, tmp_path: Path
) -> None:
    package = tmp_path / "channel" / "2099.3.4" / "yt_dlp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('disk rot')\n")
    (tmp_path / "channel" / "current").symlink_to("2099.3.4")
    async with open_extractor(guard, ExtractorOptions(plugins=PLUGINS, channel=tmp_path / "channel")) as opened:
        assert (await opened.describe(site.url("separate"))).extractor_version == INSTALLED


@pytest.mark.parametrize("wanted", ["../../etc", "latest; id", "--index-url=http://127.0.0.1", "yt-dlp"])
async def test_only_a_version_number_is_installed(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(InvalidInput):
        await Channel(tmp_path).update(wanted)


async def test_there_is_nothing_to_go_back_to_before_the_first_update(tmp_path: Path) -> None:
    channel = Channel(tmp_path)
    assert channel.active() is None
    with pytest.raises(Conflict):
        channel.rollback()


@pytest.mark.parametrize("target", ["/etc", "../elsewhere", "2099.1.1", "not-a-version"])
async def test_a_damaged_link_counts_as_none(tmp_path: Path, target: str) -> None:
    (tmp_path / "current").symlink_to(target)
    assert Channel(tmp_path).active() is None
