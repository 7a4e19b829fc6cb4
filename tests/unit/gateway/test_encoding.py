"""Accept-Encoding as RFC 9110 12.5.3 means it, not as a search for four letters."""

from __future__ import annotations

import pytest

from vasset.gateway.files.encoding import takes_gzip


@pytest.mark.parametrize(
    "header",
    [
        "gzip",
        "GZIP",
        "x-gzip",
        "br, gzip",
        "gzip;q=0.1",
        "gzip ; q=1.000",
        "*",
        "*;q=0.5",
        "identity;q=0, *",
        "deflate, gzip;q=1",
    ],
)
def test_gzip_is_taken(header: str) -> None:
    assert takes_gzip(header)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "identity",
        "br",
        "gzip;q=0",
        "gzip;q=0, identity",
        "gzip;q=0.000",
        "*;q=0",
        "gzip;q=0, *",
        "gzipped",
        "gzip;q=x",
        ";",
        ",,",
    ],
)
def test_gzip_is_refused(header: str) -> None:
    assert not takes_gzip(header)
