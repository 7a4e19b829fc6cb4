"""What can be checked without the site is checked before anything is stored."""

from __future__ import annotations

import pytest

from tests.support.builders import submission
from vasset.domain.download import Submission
from vasset.domain.errors import InvalidInput, InvalidUrl, UnavailableFormat
from vasset.domain.media import Container
from vasset.domain.ports import Submitted
from vasset.domain.user import Role
from vasset.usecases.submit_download import SubmitDownload, compatible_container


class Reached(Exception):
    def __init__(self, accepted: Submission) -> None:
        self.accepted = accepted


class Recorder:
    async def submit(self, accepted: Submission, *, role: Role, idempotency_key: str | None) -> Submitted:
        raise Reached(accepted)


def canonicalise(url: str) -> str:
    if not url.startswith("https://"):
        raise InvalidUrl()
    return url.lower()


async def test_the_stored_url_is_the_canonical_one() -> None:
    submit = SubmitDownload(Recorder(), canonicalise)  # type: ignore[arg-type]  # only submit is used
    with pytest.raises(Reached) as reached:
        await submit(submission(1, url="https://VIDEOS.example/1"), role=Role.FREE, idempotency_key=None)
    assert reached.value.accepted.url == "https://videos.example/1"


@pytest.mark.parametrize("change", [{"url": "file:///etc/passwd"}, {"quality": "bestvideo[height<="}, {"quality": ""}])
async def test_nothing_malformed_reaches_the_store(change: dict[str, str]) -> None:
    submit = SubmitDownload(Recorder(), canonicalise)  # type: ignore[arg-type]  # only submit is used
    with pytest.raises(InvalidInput):
        await submit(submission(1, **change), role=Role.FREE, idempotency_key=None)


@pytest.mark.parametrize(
    ("quality", "asked", "made"),
    [
        ("audio", Container.MP4, Container.M4A), ("audio", Container.WEBM, Container.OPUS),
        ("audio", Container.FLAC, Container.FLAC), ("best", Container.MP3, Container.MP3),
        ("1080p", Container.MKV, Container.MKV), ("137", Container.MP4, Container.MP4),
    ],
)  # fmt: skip
def test_the_container_fits_what_was_asked_for(quality: str, asked: Container, made: Container) -> None:
    assert compatible_container(quality, asked) is made


def test_a_picture_does_not_fit_into_a_sound_file() -> None:
    with pytest.raises(UnavailableFormat):
        compatible_container("1080p", Container.MP3)
