"""When a site's media addresses stop working under way (403, 410): how often its page is asked for new ones, and what counts as the same.

Each new extraction is a question the site counts, and an address refused at once is refused because of who asks, not because of its age.
So: back off first, and at most two in a row that brought no byte.
"""

from __future__ import annotations

from collections.abc import Sequence

from vasset.domain.errors import TransferFailed
from vasset.domain.faults import KINDS
from vasset.domain.media import Stream

BACK_OFF_SECONDS = (2.0, 10.0)
MAX_RENEWALS = 50  # a file of a day's length on addresses that live for half an hour


class Renewals:
    """Of one transfer."""

    def __init__(self) -> None:
        self._count = 0
        self._in_vain = 0
        self._best = -1

    def back_off(self, downloaded_bytes: int) -> float:
        """Seconds to wait before asking again. Raises ``TransferFailed`` when asking again would be of no use."""
        self._in_vain = 1 if downloaded_bytes > self._best else self._in_vain + 1
        self._best = max(self._best, downloaded_bytes)
        self._count += 1
        if self._in_vain > len(BACK_OFF_SECONDS) or self._count > MAX_RENEWALS:
            raise TransferFailed(KINDS["media_refused"].words, kind="media_refused")
        return BACK_OFF_SECONDS[self._in_vain - 1]


def renewed(streams: Sequence[Stream], fresh: Sequence[Stream]) -> list[Stream]:
    """The fresh addresses in the order of ``streams``. Raises ``TransferFailed`` when the site has other streams by now."""
    found = {stream.file_name: stream for stream in fresh}
    for stream in streams:
        if stream.file_name not in found or not is_same(stream, found[stream.file_name]):
            raise TransferFailed(
                "the site changed its formats while the download was running; it starts over", kind="formats_changed"
            )
    return [found[stream.file_name] for stream in streams]


def is_same(old: Stream, new: Stream) -> bool:
    """A name that is reused for another track or another encoding is not the same stream; what is unknown contradicts nothing."""
    pairs = ((old.codecs, new.codecs), (old.language, new.language), (old.size_bytes, new.size_bytes))
    return all(before is None or now is None or before == now for before, now in pairs)
