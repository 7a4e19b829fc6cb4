"""First bytes decide what ffmpeg may see; whatever names other files has no demuxer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasset.adapters.extract.sniff import IMAGES, MEDIA, TEXTS, sniff, sniff_bytes

PACKET = b"G" + bytes(187)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\0\0\x20ftypisom", "mov"),
        (b"\0\0\0\x18styp", "mov"),
        (b"\x1aE\xdf\xa3\x01", "matroska"),
        (PACKET * 3, "mpegts"),
        (b"FLV\x01\x05", "flv"),
        (b"OggS\0", "ogg"),
        (b"fLaC\0", "flac"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"\xff\xfb\x90\x00\0\0", "mp3"),
        (b"\xff\xf1\x50\x80\0\0", "aac"),
        (b"\x0bw\0\0\x40\0", "ac3"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"WEBVTT\n\n", "webvtt"),
        (b"\xef\xbb\xbfWEBVTT", "webvtt"),
        (b"1\r\n00:00:01,000 --> 00:00:02,000\r\nhello", "srt"),
        (b"[Script Info]\n", "ass"),
        (b";FFMETADATA1\ntitle=x", "ffmetadata"),
    ],
)
def test_knows_media_by_its_first_bytes(head: bytes, kind: str) -> None:
    assert sniff_bytes(head) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"#EXTM3U\n#EXT-X-VERSION:3\n",
        b"\xef\xbb\xbf#EXTM3U\n",
        b"  \n#EXTM3U",
        b"<!doctype html><title>Sign in</title>",
        b"<?xml version='1.0'?><MPD>",
        b"ffconcat version 1.0\nfile /etc/passwd",
        b"<smil><body>",
        b"[playlist]\nFile1=/etc/passwd",
        b'{"error":"forbidden"}',
        b"%PDF-1.7",
        b"\x7fELF\x02\x01",
        b"#!/bin/sh\n",
        b"G",
        b"GET / HTTP/1.1\r\n",
        b"II*\0",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1",
    ],
)
def test_what_names_other_files_or_is_no_media_is_nothing(head: bytes) -> None:
    assert sniff_bytes(head) is None


def test_a_playlist_behind_an_id3_tag_does_not_pass_for_anything_that_reads_other_files(tmp_path: Path) -> None:
    disguised = tmp_path / "x.mp3"
    disguised.write_bytes(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"#EXTM3U\n/etc/passwd\n")
    assert sniff(str(disguised)) == "mp3"  # forced to the mp3 demuxer, which follows nothing


def test_packed_aac_of_hls_is_known_behind_its_id3_tag(tmp_path: Path) -> None:
    packed = tmp_path / "x.aac"
    packed.write_bytes(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + b"\xff\xf1\x50\x80\x01\x02\x03")
    assert sniff(str(packed)) == "aac"


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    with pytest.raises(OSError, match="symbolic"):
        sniff(str(tmp_path / "link.mp4"))


@given(st.binary(max_size=600))
def test_any_bytes_are_a_known_kind_or_nothing(head: bytes) -> None:
    assert sniff_bytes(head) in MEDIA | set(IMAGES) | set(TEXTS) | {None}


@given(st.binary(max_size=200))
def test_nothing_that_begins_like_a_playlist_is_media(tail: bytes) -> None:
    assert sniff_bytes(b"#EXTM3U" + tail) is None
