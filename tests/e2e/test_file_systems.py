"""File systems without hard links and no-replace renames, modes of what is made, and what a stopped server leaves."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api_client import api_client
from tests.support.lying_origin import LyingOrigin, honest, page, running_lying_origin
from tests.support.media import Media
from tests.support.processes import run_vasset, serving, vasset_command, vasset_environment
from tests.support.without_links import is_possible

pytestmark = pytest.mark.xdist_group("command_line")
WITHOUT_LINKS = [sys.executable, "-m", "tests.support.without_links"]


@pytest.fixture
async def origin(media: Media) -> AsyncIterator[LyingOrigin]:
    async with running_lying_origin() as running:
        running.routes["/v.mp4"] = honest(media.read("progressive.mp4"))
        running.routes["/v.html"] = page('<!doctype html><title>A title</title><video src="/v.mp4"></video>')
        yield running


def run_without_links(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [*WITHOUT_LINKS, *vasset_command(*arguments)]
    environment = vasset_environment(**settings) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(not is_possible(), reason="the filter knows the system calls of x86-64 and arm64 Linux only")
async def test_without_links_and_flags_files_are_published_and_never_replaced(
    origin: LyingOrigin, media: Media, tmp_path: Path
) -> None:
    import asyncio

    target = tmp_path / "f.mp4"
    arguments = ("fetch", origin.url("/v.mp4"), "-o", str(target), "--quiet")
    first = await asyncio.to_thread(run_without_links, *arguments, egress_allow=origin.address)
    assert (first.returncode, first.stderr) == (0, "")
    assert target.read_bytes() == media.read("progressive.mp4")
    again = await asyncio.to_thread(run_without_links, *arguments, egress_allow=origin.address)
    assert again.returncode == 5
    assert [path.name for path in tmp_path.iterdir()] == ["f.mp4"]
    got = await asyncio.to_thread(
        run_without_links, "get", origin.url("/v.html"), "-o", str(tmp_path / "got"), egress_allow=origin.address
    )
    assert got.returncode == 0, got.stderr
    assert [path.suffix for path in (tmp_path / "got").iterdir()] == [".mp4"]


@pytest.mark.skipif(not is_possible(), reason="the filter knows the system calls of x86-64 and arm64 Linux only")
async def test_a_server_without_links_and_flags_starts_and_delivers(
    origin: LyingOrigin, media: Media, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    data_dir = tmp_path / "data"
    async with (
        serving(data_dir, before=WITHOUT_LINKS, egress_allow=origin.address) as server,
        api_client(server.url) as client,
    ):
        user = await client.register("ann@example.test")
        for mode in ("quick_download", "archive_download"):
            _, data = await user.completed(origin.url("/v.html"), mode=mode)
            assert data == media.read("progressive.mp4")
        assert await server.stop() == 0


async def test_a_stopped_server_leaves_one_whole_database_for_its_owner_alone(
    origin: LyingOrigin, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    async with serving(data_dir, egress_allow=origin.address) as server, api_client(server.url) as client:
        user = await client.register("ann@example.test")
        await user.completed(origin.url("/v.html"))
        assert await server.stop() == 0
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    for name in ("vasset.db", "secret.key"):
        if (data_dir / name).exists():
            assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600, name
    shutil.copy(data_dir / "vasset.db", tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT email FROM users").fetchall() == [("ann@example.test",)]


async def test_fetched_and_converted_files_have_the_rights_of_the_umask(origin: LyingOrigin, tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        for quality, name in (("best", "mp4"), ("audio", "mp3")):
            code, _, words = await run_vasset(
                "get",
                origin.url("/v.html"),
                "-o",
                str(tmp_path),
                "--quality",
                quality,
                "--format",
                name,
                egress_allow=origin.address,
            )
            assert code == 0, words
    finally:
        os.umask(before)
    modes = {path.suffix: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir() if path.is_file()}
    assert modes == {".mp4": "0o664", ".mp3": "0o664"}


async def test_doctor_changes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    code, _, words = await run_vasset("doctor", "--data-dir", str(data_dir))
    assert (code, words) == (0, "")
    assert list(data_dir.iterdir()) == []
    with sqlite3.connect(data_dir / "vasset.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('0004')")
    code, _, words = await run_vasset("doctor", "--data-dir", str(data_dir))
    assert code != 0
    assert "vasset migrate" in words
    with sqlite3.connect(data_dir / "vasset.db") as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0004",)]
