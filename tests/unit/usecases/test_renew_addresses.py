"""How often a site is asked for new addresses, and what counts as the same stream under them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vasset.domain.errors import TransferFailed
from vasset.domain.media import Stream
from vasset.usecases.renew_addresses import BACK_OFF_SECONDS, MAX_RENEWALS, Renewals, renewed

SOUND = Stream(
    "140", "file", "https://a.test/1", "media.f140.m4a", size_bytes=30, codecs="none+mp4a.40.2", language="en"
)


def test_two_in_a_row_without_a_new_byte_are_the_last() -> None:
    renewals = Renewals()
    assert [renewals.back_off(100), renewals.back_off(100)] == list(BACK_OFF_SECONDS)
    with pytest.raises(TransferFailed) as refused:
        renewals.back_off(100)
    assert (refused.value.kind, refused.value.retryable) == ("media_refused", True)
    assert "expired" not in refused.value.message


def test_a_long_file_outlives_many_addresses() -> None:
    renewals = Renewals()
    assert {renewals.back_off(number) for number in range(MAX_RENEWALS)} == {BACK_OFF_SECONDS[0]}
    with pytest.raises(TransferFailed):
        renewals.back_off(MAX_RENEWALS)


def test_a_fresh_address_of_the_same_stream_is_taken() -> None:
    fresh = replace(SOUND, url="https://b.test/2", size_bytes=None)
    assert renewed([SOUND], [fresh]) == [fresh]


@pytest.mark.parametrize(
    "change", [{"codecs": "none+opus"}, {"language": "de"}, {"size_bytes": 31}, {"file_name": "media.f251.webm"}]
)
def test_another_stream_under_the_same_name_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(TransferFailed) as refused:
        renewed([SOUND], [replace(SOUND, **change)])  # type: ignore[arg-type]
    assert refused.value.kind == "formats_changed"
