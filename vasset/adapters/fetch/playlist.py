"""``vasset fetch`` of a playlist: choose, then fetch one stream, or a picture and its sound.

Imported only for playlists, and imports little: ``vasset fetch`` is timed against curl.
"""

from __future__ import annotations

from vasset.adapters.fetch.streams import NothingSuitable, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vasset import _engine
    from vasset.adapters.fetch.pair import Merged


class NotFetched(Exception):
    """There is no file under the name that was asked for; the message says why and what to do, ``code`` is for programs."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Wishes:
    """``request(output, stream)`` makes an engine request, ``wait`` blocks until all handles have ended.

    ``expected`` is the digest that the file must have, by ``hash_name``.
    """

    def __init__(
        self,
        *,
        output: str,
        quality: str,
        audio: str | None,
        hash_name: _engine.HashName | None,
        expected: str | None,
        request: Callable[[str, int | None], _engine.Request],
        wait: Callable[[Sequence[_engine.Handle]], Sequence[_engine.Outcome]],
    ) -> None:
        self.output = output
        self.quality = quality
        self.audio = audio
        self.hash_name = hash_name
        self.expected = expected
        self.request = request
        self.wait = wait


def fetch(engine: _engine.Engine, wishes: Wishes) -> _engine.Outcome | Merged:
    """Raises the engine's errors and :class:`NotFetched`."""
    offered = engine.streams(wishes.request(wishes.output, None))
    if not offered:
        if wishes.quality != "best" or wishes.audio is not None:
            raise NotFetched(
                "invalid_request", "the playlist offers nothing to choose from; leave --quality and --audio out"
            )
        return _one(engine, wishes, None)
    try:
        main, sound = choose(offered, wishes.quality, wishes.audio)
    except NothingSuitable as error:
        raise NotFetched("invalid_request", str(error)) from error
    if sound is None:
        return _one(engine, wishes, main)
    from vasset.adapters.fetch.pair import fetch_pair

    return fetch_pair(engine, wishes, main, sound)


def _one(engine: _engine.Engine, wishes: Wishes, stream: int | None) -> _engine.Outcome:
    (outcome,) = wishes.wait([engine.submit(wishes.request(wishes.output, stream))])
    return outcome
