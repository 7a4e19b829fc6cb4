"""S80–S96: what must not reach an extraction child at all."""

from __future__ import annotations

import pytest

from vasset.adapters.extract.addresses import checked_url
from vasset.domain.errors import InvalidUrl


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://127.0.0.1/",
        "data:text/plain,hi",
        "gopher://127.0.0.1:6379/_",
        "rtmp://example.com/live",
        "rtsp://example.com/live",
        "concat:a|b",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "pipe:0",
        "tcp://127.0.0.1:6379",
        "unix:/run/x",
        "ytsearch100000:x",
        "--batch-file=/etc/passwd",
        "--exec=id",
        "-o/tmp/x",
        ":ytfav",
        "",
        " http://example.com/",
        "http://example.com/\r\nX: y",
        "http://user:secret@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http:///etc/passwd",
        "http:example.com",
        "//example.com/",
        "http://example.com:99999/",
        "https://example.com/v#__youtubedl_smuggle=%7B%22http_headers%22%3A1%7D",
        "https://example.com/" + "a" * 8192,
        "https://example.com/\ud800",
        "http://[example.com/",
    ],
)
def test_is_refused_before_a_child_sees_it(url: str) -> None:
    with pytest.raises(InvalidUrl):
        checked_url(url)


@pytest.mark.parametrize(
    "url", ["https://example.com/watch?v=1&x=%20#t=5", "HTTP://EXAMPLE.com/", "http://[2001:db8::1]:8080/v"]
)
def test_an_ordinary_address_passes_unchanged(url: str) -> None:
    assert checked_url(url) == url


def test_the_refusal_does_not_repeat_the_password() -> None:
    with pytest.raises(InvalidUrl) as refusal:
        checked_url("http://user:secret@example.com/")
    assert "secret" not in refusal.value.message
