"""`vasset get --cookies FILE`: pages that want a cookie are read with it, and its value is written down nowhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lying_origin import Answer, Asked, Behaviour, LyingOrigin, held, honest, page, running_lying_origin
from tests.support.media import Media, make_media
from tests.support.processes import run_vasset, vasset_command, vasset_environment

pytestmark = pytest.mark.xdist_group("command_line")

CANARY = "canary-6f1d0c7b"
FILM = '<title>Members</title><video src="/film.mp4"></video>'


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return make_media(tmp_path_factory.getbasetemp().parent)


@pytest.fixture
def cookies(tmp_path: Path) -> Path:
    file = tmp_path / "cookies.txt"
    file.write_text(
        f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\t{CANARY}\n"
        f"127.0.0.1\tFALSE\t/elsewhere\tFALSE\t0\tother\t{CANARY}\n"
    )
    return file


def for_members(then: Behaviour) -> Behaviour:
    async def behave(asked: Asked, answer: Answer) -> None:
        if asked.headers.get("cookie") == f"session={CANARY}":
            await then(asked, answer)
        else:
            await answer.head("403 Forbidden", Content_Length=0)

    return behave


def sent(origin: LyingOrigin) -> set[str | None]:
    return {asked.headers.get("cookie") for asked in origin.asked}


async def test_page_and_film_are_read_with_the_cookie(cookies: Path, media: Media, tmp_path: Path) -> None:
    film = media.read("progressive.mp4")
    async with running_lying_origin() as origin:
        origin.routes["/page"] = for_members(page(FILM))
        origin.routes["/film.mp4"] = for_members(honest(film))
        arguments = ("get", origin.url("/page"), "-o", str(tmp_path / "out"), "--json")
        code, _, _ = await run_vasset(*arguments, egress_allow=origin.address)
        assert code == 4
        assert sent(origin) == {None}
        code, out, err = await run_vasset(*arguments, "--cookies", str(cookies), egress_allow=origin.address)
        assert code == 0, err
        assert Path(json.loads(out)["path"]).read_bytes() == film


async def test_the_parts_of_a_pair_are_fetched_with_the_cookie(cookies: Path, media: Media, tmp_path: Path) -> None:
    """Manifest, picture and sound; the first by yt-dlp, all by the engine."""
    async with running_lying_origin() as origin:
        for path in media.folder.rglob("*"):
            if path.is_file() and not path.name.endswith(".html"):
                origin.routes[f"/{path.relative_to(media.folder)}"] = for_members(honest(path.read_bytes()))
        code, out, err = await run_vasset(
            "get", origin.url("/separate.mpd"), "-o", str(tmp_path / "out"), "--json", "--cookies", str(cookies),
            egress_allow=origin.address,
        )  # fmt: skip
        assert code == 0, (err, out)
        assert sent(origin) == {f"session={CANARY}"}


async def test_another_host_gets_no_cookie(cookies: Path, media: Media, tmp_path: Path) -> None:
    async with running_lying_origin() as origin:
        origin.routes["/page"] = page(f'<title>T</title><video src="http://localhost:{origin.port}/film.mp4"></video>')
        origin.routes["/film.mp4"] = honest(media.read("progressive.mp4"))
        arguments = ("get", origin.url("/page"), "-o", str(tmp_path / "out"), "--json", "--cookies", str(cookies))
        code, _, err = await run_vasset(*arguments, egress_allow="127.0.0.0/8,localhost")
        assert code == 0, err
        assert {asked.headers.get("cookie") for asked in origin.asked if asked.path == "/film.mp4"} == {None}


def descendants(of: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (status := entry / "stat").exists():
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == of:
                yield int(entry.name)
                yield from descendants(int(entry.name))


async def test_its_value_is_in_no_argument_environment_file_or_word(
    cookies: Path, media: Media, tmp_path: Path
) -> None:
    gate, output = asyncio.Event(), tmp_path / "out"
    async with running_lying_origin() as origin:
        origin.routes["/page"] = for_members(page(FILM))
        origin.routes["/film.mp4"] = for_members(held(media.read("progressive.mp4"), gate, first_bytes=20_000))
        process = await asyncio.create_subprocess_exec(
            *vasset_command("get", origin.url("/page"), "-o", str(output), "--cookies", str(cookies)),
            env=vasset_environment(egress_allow=origin.address, log_level="debug"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await origin.sent("/film.mp4", 20_000)
        running = [process.pid, *descendants(process.pid)]
        assert len(running) > 1
        shown = [Path(f"/proc/{number}/{what}").read_bytes() for number in running for what in ("cmdline", "environ")]
        process.send_signal(signal.SIGINT)
        words = b"".join(await asyncio.wait_for(process.communicate(), 60))
        gate.set()
    assert process.returncode == 130, words
    left = [path for path in output.rglob("*") if path.is_file()]
    assert left, "nothing to go on from was kept"
    assert not [text for text in (*shown, words, *(path.read_bytes() for path in left)) if CANARY.encode() in text]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (f"session={CANARY}; other={CANARY}\n", "export it in Netscape format")],
)
async def test_a_file_that_holds_no_cookies_is_refused_without_showing_it(
    content: str | None, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.txt"
    if content is not None:
        file.write_text(content)
    code, out, err = await run_vasset("get", "http://127.0.0.1:9/x", "-o", str(tmp_path), "--cookies", os.fspath(file))
    assert (code, out) == (3, "")
    assert words in err
    assert CANARY not in err
