"""A live playlist's text, however it is written, is read in time that grows with its length."""

from __future__ import annotations

import pytest
from yt_dlp.utils import parse_m3u8_attributes

from vasset.adapters.extract.child import warm
from vasset.adapters.extract.child.live_playlist import attributes


@pytest.mark.parametrize("tag", ["", "#EXT-X-MEDIA:", "#EXT-X-STREAM-INF:"])
def test_a_line_with_its_tag_reads_as_yt_dlp_reads_it(tag: str) -> None:
    """Without its first attribute a sound is none, and a video that has its sound apart is fetched without it."""
    for line in (
        'TYPE=AUDIO,GROUP-ID="a:b",NAME="Ton, deutsch",URI="de.m3u8"',
        'BANDWIDTH=800000,CODECS="avc1,mp4a",AUDIO="a"',
    ):
        assert attributes(tag + line) == parse_m3u8_attributes(tag + line)


def test_attributes_are_split_at_commas_outside_quotes() -> None:
    read = attributes(' METHOD=AES-128, URI="a,b",IV=0x1,bare,=no,X-Y="",')
    assert read == {"METHOD": "AES-128", "URI": "a,b", "IV": "0x1", "X-Y": ""}


@pytest.mark.parametrize("letters", ["A", "A=", 'A="', "A,", " ", "A=b "])
def test_no_letter_is_read_for_each_letter_before_it(letters: str) -> None:
    # Searched quadratically this takes an hour.
    attributes(letters * (2_000_000 // len(letters)))


def test_yt_dlp_reads_them_the_same_way() -> None:
    pytest.importorskip("yt_dlp")
    from yt_dlp.downloader import hls
    from yt_dlp.extractor import common

    warm._read_attributes_in_one_pass()
    assert hls.parse_m3u8_attributes is attributes
    assert common.parse_m3u8_attributes is attributes
