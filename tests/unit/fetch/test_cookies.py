"""Cookie files as exporters write them, and cookies on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vasset import _engine
from vasset.adapters.fetch.cookies import UnreadableCookies, of_address, read_file


def shown(cookies: list[_engine.Cookie]) -> list[str]:
    return [repr(cookie) for cookie in cookies]


@pytest.mark.parametrize(
    ("line", "cookie"),
    [
        (".example.com\tTRUE\t/\tFALSE\t1999999999\tsid\tx", "Cookie(sid of example.com/)"),
        ("#HttpOnly_.example.com\tTRUE\t/a\tTRUE\t0\tsid\tx", "Cookie(sid of example.com/a)"),
        (".youtube.com    FALSE   /   TRUE    1634163357.608693   GPS 1", "Cookie(GPS of youtube.com/)"),
        ("example.com\tFALSE\t/\tFALSE\t\tsid\tx y\tz", "Cookie(sid of example.com/)"),
        ("example.com\tFALSE\t/\tFALSE\t1999999999000\tempty", "Cookie(empty of example.com/)"),
        ("127.0.0.1\tFALSE\t/\tFALSE\tnever\tsid\tx", "Cookie(sid of 127.0.0.1/)"),
    ],
)
def test_a_line_is_read_however_it_was_exported(line: str, cookie: str, tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_bytes(b"\xef\xbb\xbf" + f"# a comment\r\n\r\n{line}\r\nnonsense\r\n".encode())
    assert shown(read_file(str(file))) == [cookie]


def test_a_file_of_something_else_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "cookies.txt"
    file.write_text('[{"name": "sid", "value": "secret"}]')
    with pytest.raises(UnreadableCookies, match=r"no cookies.txt") as refused:
        read_file(str(file))
    assert "secret" not in str(refused.value)
    file.write_text("# Netscape HTTP Cookie File\n")
    assert read_file(str(file)) == []


def test_pairs_are_for_one_host() -> None:
    assert shown(of_address("a=b; c=d=e;", "https://H.example:8443/a b", [])) == [
        "Cookie(a of h.example/)",
        "Cookie(c of h.example/)",
    ]
    assert shown(of_address("a=b", "http://[2606:4700:4700::1111]:8080/", [])) == ["Cookie(a of 2606:4700:4700::1111/)"]
    with pytest.raises(_engine.InvalidRequest):
        of_address("a=\x01", "http://h.example/", [])
