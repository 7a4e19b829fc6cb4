"""Which streams of a playlist become the file: one, or a picture and its sound.

``typing`` and ``dataclasses`` take longer to import than a short playlist to fetch; what only a type checker reads is left to it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Offered(Protocol):
        """``vasset._engine.Stream``, as far as a choice needs it."""

        @property
        def index(self) -> int: ...
        @property
        def kind(self) -> str: ...
        @property
        def height(self) -> int | None: ...
        @property
        def bandwidth(self) -> int: ...
        @property
        def language(self) -> str | None: ...
        @property
        def name(self) -> str | None: ...
        @property
        def audio_group(self) -> str | None: ...
        @property
        def is_default(self) -> bool: ...
        @property
        def is_separate(self) -> bool: ...


class NothingSuitable(Exception):
    """Nothing of what is offered is what was asked for; the message names what there is."""


def choose(streams: Sequence[Offered], quality: str, audio: str | None) -> tuple[int, int | None]:
    """Indexes of the stream that is fetched and of a sound to be fetched besides it.

    ``quality`` is ``best``, a height such as ``1080p`` (at most that), or ``audio``; ``audio`` a language or a name.

    Of several sounds the default one is taken, else the author's first; bits are compared within one of them only.

    Raises :class:`NothingSuitable`.
    """
    sounds = [stream for stream in streams if stream.kind == "audio"]
    pictures = [stream for stream in streams if stream.kind in {"video", "both"}]
    if quality == "audio":
        return _sound([sound for sound in sounds if sound.is_separate], audio).index, None
    if not pictures:
        # A rendition without an address is inside its variant: it names the sound, the variant has it.
        return _sound([sound for sound in sounds if sound.is_separate], audio).index, None
    picture = _picture(pictures, quality)
    if picture.kind == "both" and audio is None:
        return picture.index, None
    sound = _sound([sound for sound in sounds if sound.audio_group == picture.audio_group], audio)
    return picture.index, sound.index if sound.is_separate else None


def _picture(pictures: Sequence[Offered], quality: str) -> Offered:
    most = None if quality == "best" else int(quality.removesuffix("p"))
    small_enough = [picture for picture in pictures if most is None or (picture.height or 0) <= most]
    if not small_enough:
        heights = sorted(
            {f"{picture.height}p" for picture in pictures if picture.height}, key=lambda text: int(text[:-1])
        )
        raise NothingSuitable(f"there is no picture of at most {quality}; the playlist offers {', '.join(heights)}")
    return max(small_enough, key=lambda picture: (picture.height or 0, picture.bandwidth))


def _sound(sounds: Sequence[Offered], wanted: str | None) -> Offered:
    suitable = sounds if wanted is None else _called(sounds, wanted.lower())
    if not suitable:
        names = [" ".join(filter(None, (sound.language, sound.name))) or "one without a name" for sound in sounds[:20]]
        asked = f"sound called {wanted!r}" if wanted is not None else "sound apart from the picture"
        raise NothingSuitable(f"there is no {asked}; the playlist offers {', '.join(names) or 'none'}")
    usual = next((sound for sound in suitable if sound.is_default), suitable[0])
    return max((sound for sound in suitable if _what(sound) == _what(usual)), key=lambda sound: sound.bandwidth)


def _what(sound: Offered) -> tuple[object, ...]:
    """The same for encodings of the same sound."""
    return sound.language, sound.name, sound.audio_group, sound.is_default


def _called(sounds: Sequence[Offered], wanted: str) -> Sequence[Offered]:
    """By the exact word first; else by the language, in any of its codes, or a regional form of it."""
    exactly = [sound for sound in sounds if wanted in {(sound.language or "").lower(), (sound.name or "").lower()}]
    if exactly:
        return exactly
    from vasset.adapters.fetch.languages import spellings_of

    primary, _, region = wanted.partition("-")
    spellings = spellings_of(primary)

    def is_one(sound: Offered) -> bool:
        spoken, _, where = (sound.language or "").lower().partition("-")
        return spoken in spellings and f"{where}-".startswith(f"{region}-" if region else "")

    return [sound for sound in sounds if is_one(sound)]
