"""`vasset fetch` and `vasset get` before hosts that mean no: pages instead of the file, small ranges, slow first bytes, no validators."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.support.lying_origin import Answer, Asked, honest, page, running_lying_origin
from tests.support.processes import run_vasset, vasset_command, vasset_environment

pytestmark = pytest.mark.xdist_group("command_line")

BODY = os.urandom(3 << 20)
PAGE = "<html><body>One download at a time, please.</body></html>"


async def test_fetch_says_that_a_page_came_and_keeps_what_it_has(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    async with running_lying_origin() as origin:

        async def breaks_off(asked: Asked, answer: Answer) -> None:
            if len(origin.requests("/film.mp4")) > 1:
                await page(PAGE)(asked, answer)
                return
            await answer.head("206 Partial Content", Content_Length=len(BODY), Content_Type="video/mp4", ETag='"v1"',
                              Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}")  # fmt: skip
            await answer.body(BODY[: 2 << 20])

        origin.routes["/film.mp4"] = breaks_off
        arguments = ("fetch", origin.url("/film.mp4"), "-o", str(film), "--json")
        code, out, _ = await run_vasset(*arguments, egress_allow=origin.address)
        error = json.loads(out)["error"]
        assert (code, error["code"], film.exists()) == (4, "page", False)
        assert error["message"].startswith("the site answered with a page (text/html, 57 bytes) instead of the file")
        origin.routes["/film.mp4"] = honest(BODY)
        code, out, err = await run_vasset(*arguments, egress_allow=origin.address)
        assert code == 0, err
        assert json.loads(out)["resumed_bytes"] > 1 << 20
    assert film.read_bytes() == BODY


async def test_get_says_that_the_site_answered_with_a_page(tmp_path: Path) -> None:
    async with running_lying_origin() as origin:
        origin.routes["/watch"] = page('<title>Film</title><video src="/film.mp4"></video>')
        origin.routes["/film.mp4"] = page(PAGE)
        code, out, err = await run_vasset("get", origin.url("/watch"), "-o", str(tmp_path), egress_allow=origin.address)
    assert (code, out, list(tmp_path.glob("*.mp4"))) == (4, "", [])
    assert "the site answered with a page" in err.lower()


async def test_max_range_gets_a_file_from_a_host_that_gives_a_little_at_a_time(tmp_path: Path) -> None:
    most = 1 << 20
    async with running_lying_origin() as origin:

        async def sparing(asked: Asked, answer: Answer) -> None:
            wanted = asked.byte_range(len(BODY))
            if wanted is None or wanted[1] - wanted[0] > most:
                await answer.head("403 Forbidden", Content_Length=0)
                return
            await honest(BODY)(asked, answer)

        origin.routes["/f"] = sparing
        arguments = ("fetch", origin.url("/f"), "-o", str(tmp_path / "f"))
        code, _, err = await run_vasset(*arguments, egress_allow=origin.address)
        assert (code, "403" in err) == (4, True)
        code, _, err = await run_vasset(*arguments, "--max-range", "1M", egress_allow=origin.address)
    assert code == 0, err
    assert (tmp_path / "f").read_bytes() == BODY


async def test_what_is_waited_for_is_said_on_standard_error(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with running_lying_origin() as origin:

        async def thinking(asked: Asked, answer: Answer) -> None:
            await gate.wait()
            await honest(BODY)(asked, answer)

        origin.routes["/f"] = thinking
        process = await asyncio.create_subprocess_exec(
            *vasset_command("fetch", origin.url("/f"), "-o", str(tmp_path / "f")),
            env=vasset_environment(egress_allow=origin.address),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        async with asyncio.timeout(60):
            assert await process.stderr.readline() == b"vasset fetch: waiting for the answer of 127.0.0.1\n"
            gate.set()
            await process.communicate()
    assert process.returncode == 0
    assert (tmp_path / "f").read_bytes() == BODY


async def test_the_first_answer_has_a_bound_of_its_own(tmp_path: Path) -> None:
    async with running_lying_origin() as origin:

        async def silent(asked: Asked, answer: Answer) -> None:
            await asyncio.Event().wait()

        origin.routes["/f"] = silent
        arguments = ("fetch", origin.url("/f"), "-o", str(tmp_path / "f"), "--answer-timeout", "0.2")
        code, _, err = await run_vasset(*arguments, egress_allow=origin.address)
        assert (code, len(origin.requests("/f"))) == (4, 2)
    assert "the answer of 127.0.0.1" in err


async def test_trust_length_goes_on_where_a_host_sends_no_validator(tmp_path: Path) -> None:
    async with running_lying_origin() as origin:

        async def bare(asked: Asked, answer: Answer) -> None:
            start, end = asked.byte_range(len(BODY)) or (0, len(BODY))
            await answer.head("206 Partial Content", Content_Length=end - start,
                              Content_Range=f"bytes {start}-{end - 1}/{len(BODY)}")  # fmt: skip
            await answer.body(BODY[start : min(end, start + (1 << 20))])

        origin.routes["/f"] = bare
        arguments = ("fetch", origin.url("/f"), "-o", str(tmp_path / "f"), "--json", "--trust-length")
        code, out, err = await run_vasset(*arguments, egress_allow=origin.address)
    assert code == 0, err
    assert json.loads(out)["fetched_bytes"] == len(BODY)
    assert (tmp_path / "f").read_bytes() == BODY
