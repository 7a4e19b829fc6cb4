"""The length of a direct file stands in its header; what is broken or hostile there has none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support.media import Media, make_media
from vasset.adapters.extract.length import length_of


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    return make_media(tmp_path_factory.getbasetemp().parent)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


MVHD = box(b"mvhd", bytes(12) + struct.pack(">II", 1_000, 6_500) + bytes(80))


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (box(b"ftyp", b"isom") + box(b"mdat", bytes(99)) + box(b"moov", MVHD), 6.5),
        (box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", b"\x01" + bytes(19) + struct.pack(">IQ", 90_000, 900_000) + bytes(80))), 10.0),
        (b"\x1aE\xdf\xa3\x80" + b"\x2a\xd7\xb1\x83\x0f\x42\x40" + b"\x44\x89\x88" + struct.pack(">d", 2_500.0), 2.5),
        (box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", bytes(100))), None),  # no units in a second
        (struct.pack(">I", 4) + b"moov" + MVHD, None),  # shorter than its own head
        (struct.pack(">I", 2**31) + b"moov" + MVHD, None),  # longer than the file
        (b"\x1aE\xdf\xa3" + b"\x44\x89\x88" + struct.pack(">d", float("nan")), None),
        (b"\x1aE\xdf\xa3" + b"\x44\x89", None),
        (b"moov", None),
        (b"", None),
    ],
)  # fmt: skip
def test_reads_what_stands_there_and_nothing_else(content: bytes, seconds: float | None, tmp_path: Path) -> None:
    file = tmp_path / "film"
    file.write_bytes(content)
    assert length_of(file) == seconds


def test_agrees_with_a_real_film(media: Media, tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    file.write_bytes(media.read("progressive.mp4"))
    found = length_of(file)
    assert found is not None
    assert abs(found - 6.0) < 0.1
