"""`vasset fetch` on real networks: cookies given on the command line, and the proxies of an environment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.lying_origin import Answer, Asked, Behaviour, LyingOrigin, running_lying_origin
from tests.support.processes import run_vasset

pytestmark = pytest.mark.xdist_group("command_line")
BODY = b"x" * 5_000


def wanting(cookie: str) -> Behaviour:
    """Refuse whoever does not bring exactly this."""

    async def behave(asked: Asked, answer: Answer) -> None:
        if asked.headers.get("cookie") != cookie:
            await answer.head("403 Forbidden", Content_Length=0)
            return
        await answer.head("200 OK", Content_Length=len(BODY))
        await answer.body(BODY)

    return behave


async def test_cookies_of_every_option_are_sent(tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text("127.0.0.1\tFALSE\t/\tFALSE\t0\tfiled\t1\n.other.example\tTRUE\t/\tFALSE\t0\tother\t2\n")
    options = ("--cookies", str(file), "--cookie", "given=3", "--header", "Cookie: headed=4")
    async with running_lying_origin() as origin:
        origin.routes["/f"] = wanting("filed=1; given=3; headed=4")
        target = tmp_path / "f"
        code, _, err = await run_vasset(
            "fetch", origin.url("/f"), "-o", str(target), *options, egress_allow=origin.address
        )
        assert code == 0, err
        assert target.read_bytes() == BODY


async def test_a_file_that_holds_no_cookies_is_named_and_its_contents_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "cookies.json"
    file.write_text('[{"value": "canary"}]')
    command = ("fetch", "http://example.com/f", "-o", str(tmp_path / "f"), "--cookies", str(file))
    code, out, err = await run_vasset(*command)
    assert (code, out) == (2, "")
    assert "cookies.json" in err
    assert "canary" not in err
    assert "Traceback" not in err


@asynccontextmanager
async def forwarding(origin: LyingOrigin) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that takes the absolute form only, and brings every name to ``origin``; its address and what it was asked."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0].decode())
        method, url, _ = asked[-1].split(" ")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            upstream, to_origin = await asyncio.open_connection("127.0.0.1", origin.port)
            to_origin.write(head.replace(url.encode(), b"/" + url.split("/", 3)[3].encode(), 1))
            writer.write(await upstream.read())
            to_origin.close()
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


async def test_the_proxy_of_the_environment_is_asked_also_for_names_only_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_lying_origin() as origin, forwarding(origin) as (proxy, asked):
        origin.routes["/f"] = wanting("a=1")
        url = "http://media.only-the-proxy-knows.invalid/f"
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        command = ("fetch", "--cookie", "a=1", "--json")
        code, out, err = await run_vasset(*command, url, "-o", str(tmp_path / "by-proxy"))
        assert code == 0, out + err
        assert json.loads(out)["remarks"] == []
        assert asked == [f"GET {url} HTTP/1.1"]
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        direct = await run_vasset(
            *command, origin.url("/f"), "-o", str(tmp_path / "direct"), egress_allow=origin.address
        )
        assert direct[0] == 0
        assert len(asked) == 1
