"""Accept a download: check what can be checked without asking the site, then one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vasset.domain.download import Submission
from vasset.domain.errors import InvalidInput, UnavailableFormat
from vasset.domain.media import Container, is_quality
from vasset.domain.ports import Submitted, TaskStore
from vasset.domain.user import Role

# Audio asked for in a container of video gets the same codec's own container.
AUDIO_CONTAINERS = {Container.MP4: Container.M4A, Container.WEBM: Container.OPUS}


class SubmitDownload:
    """``canonicalise`` answers the one spelling of a public http(s) URL or raises ``InvalidUrl`` or ``EgressRefused``."""

    def __init__(self, store: TaskStore, canonicalise: Callable[[str], str]) -> None:
        self._store = store
        self._canonicalise = canonicalise

    async def __call__(self, submission: Submission, *, role: Role, idempotency_key: str | None) -> Submitted:
        """Raises ``InvalidInput`` and its kinds, and whatever ``TaskStore.submit`` raises."""
        checked = replace(
            submission,
            url=self._canonicalise(submission.url),
            container=compatible_container(submission.quality, submission.container),
        )
        return await self._store.submit(checked, role=role, idempotency_key=idempotency_key)


def compatible_container(quality: str, container: Container) -> Container:
    """The container to make. Raises ``InvalidInput`` for no quality at all, ``UnavailableFormat`` for a picture in a sound file."""
    if not is_quality(quality):
        raise InvalidInput(f"{quality[:64]!r} is not a quality; use best, 2160p … 360p, audio or a format id of /parse")
    if quality == "audio":
        return AUDIO_CONTAINERS.get(container, container)
    if container.is_audio and quality.endswith("p") and quality[:-1].isdigit():
        raise UnavailableFormat(
            f"{container} holds sound only; choose quality audio, or a container of video such as mp4"
        )
    return container
