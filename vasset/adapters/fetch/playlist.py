"""``vasset fetch`` of a playlist: choose, then fetch one stream, or a picture and its sound.

Imported only for playlists, and imports little: ``vasset fetch`` is timed against curl.
"""

from __future__ import annotations

import os
from time import monotonic

from vasset import _engine
from vasset.adapters.fetch.leftovers import forget, keep_only_those_of
from vasset.adapters.fetch.name import TargetTaken, give_name
from vasset.adapters.fetch.streams import NothingSuitable, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What the joined bytes must be to have this name; whatever has another name may be anything.
KINDS = {
    ".mp4": "mp4", ".m4v": "mp4", ".m4a": "mp4", ".mov": "mp4", ".mkv": "matroska", ".mka": "matroska", ".webm": "matroska",
    ".ts": "mpegts",
}  # fmt: skip
WHOLE = ".whole"  # the joined bytes until they are what their name says


class NotFetched(Exception):
    """There is no file under the name that was asked for; the message says why and what to do, ``code`` is for programs."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Fetched:
    """What an ``Outcome`` says, of a file that something was done with after it had come. ``remarks`` are the engine's, or words."""

    def __init__(
        self,
        path: str,
        outcomes: Sequence[_engine.Outcome],
        *,
        digests: dict[str, str],
        seconds: float,
        durability: _engine.Durability,
        remarks: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.size = os.stat(path).st_size  # noqa: PTH116
        self.digests = digests
        self.seconds = seconds
        self.resumed_bytes = sum(outcome.resumed_bytes for outcome in outcomes)
        self.fetched_bytes = sum(outcome.fetched_bytes for outcome in outcomes)
        self.connections_peak = sum(outcome.connections_peak for outcome in outcomes)
        self.missing_fragments = sum(outcome.missing_fragments for outcome in outcomes)
        self.final_url = outcomes[0].final_url if outcomes else ""
        self.durability = durability
        self.remarks = (*remarks, *sorted({remark for outcome in outcomes for remark in outcome.remarks}))


class Wishes:
    """``request(output, stream)`` makes an engine request, ``wait`` blocks until all handles have ended.

    ``address`` is the playlist's, ``expected`` is the digest that the file must have, by ``hash_name``.
    """

    def __init__(
        self,
        *,
        address: str,
        output: str,
        quality: str,
        audio: str | None,
        hash_name: _engine.HashName | None,
        expected: str | None,
        request: Callable[[str, int | None], _engine.Request],
        wait: Callable[[Sequence[_engine.Handle]], Sequence[_engine.Outcome]],
    ) -> None:
        self.address = address
        self.output = output
        self.quality = quality
        self.audio = audio
        self.hash_name = hash_name
        self.expected = expected
        self.request = request
        self.wait = wait

    def digests(self, path: str) -> dict[str, str]:
        return {self.hash_name: _engine.hash_file(path, self.hash_name)} if self.hash_name else {}

    def check(self, digests: dict[str, str]) -> None:
        """Raises :class:`NotFetched` for a file that is not the promised one."""
        if self.hash_name is None or self.expected is None or digests[self.hash_name] == self.expected:
            return
        words = f"the {self.hash_name} of the file is {digests[self.hash_name]}, promised was {self.expected}; nothing was published"
        raise NotFetched("digest_mismatch", words)


def fetch(engine: _engine.Engine, wishes: Wishes) -> Fetched:
    """Raises the engine's errors and :class:`NotFetched`."""
    if os.path.exists(wishes.output):  # noqa: PTH110
        raise NotFetched("target_exists", f"{wishes.output} exists and is never replaced; choose another name")
    offered = engine.streams(wishes.request(wishes.output, None))
    try:
        keep_only_those_of(wishes.address, wishes.output)
    except OSError as error:
        words = f"{error.filename} is of another address and cannot be removed ({error.strerror})"
        raise NotFetched("not_published", words) from error
    try:
        fetched = _fetch(engine, wishes, offered)
    except BaseException:
        forget(wishes.output, unless_kept=True)
        raise
    forget(wishes.output)
    return fetched


def _fetch(engine: _engine.Engine, wishes: Wishes, offered: Sequence[_engine.Stream]) -> Fetched:
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


def _one(engine: _engine.Engine, wishes: Wishes, stream: int | None) -> Fetched:
    """The joined bytes wait under another name until they are proved to be the file; a run that failed then goes on there."""
    began = monotonic()
    whole = f"{wishes.output}{WHOLE}" if stream is None else f"{wishes.output}.{stream}{WHOLE}"
    outcomes: Sequence[_engine.Outcome] = ()
    if not os.path.exists(whole):  # noqa: PTH110
        outcomes = wishes.wait([engine.submit(wishes.request(whole, stream))])
    digests = dict(outcomes[0].digests) if outcomes else {}
    remarks: list[str] = []
    if _is_to_be_finished(whole, wishes.output, remarks) or not digests:
        digests = wishes.digests(whole)
    try:
        wishes.check(digests)
    except NotFetched:
        os.unlink(whole)  # noqa: PTH108
        raise
    try:
        durability = give_name(whole, wishes.output)
    except TargetTaken as error:
        raise NotFetched("target_exists", str(error)) from error
    except OSError as error:
        words = f"{wishes.output} cannot get its name ({error.strerror}); the file is complete in {whole}"
        raise NotFetched("not_published", words) from error
    return Fetched(
        wishes.output,
        outcomes,
        digests=digests,
        seconds=monotonic() - began,
        durability=durability,
        remarks=remarks,
    )


def _is_to_be_finished(whole: str, output: str, remarks: list[str]) -> bool:
    """Finish what is not what its name says, or has two clocks. Whether anything was done."""
    suffix = os.path.splitext(output)[1].lower()  # noqa: PTH122
    with open(whole, "rb") as file:  # noqa: PTH123
        kind = _kind(file.read(1024))
    wanted = KINDS.get(suffix)
    is_other = kind is not None and wanted is not None and wanted != kind
    if not is_other and not (kind in {"mp4", "matroska"} and _has_several_clocks(whole)):
        return False
    from pathlib import Path

    from vasset.adapters.fetch.finish import CannotFinish, DiskRefused, finish

    try:
        finish(Path(whole), suffix if is_other else None)
    except DiskRefused as error:
        raise NotFetched("disk_full", f"{error}: what was fetched is complete in {whole}") from error
    except CannotFinish as error:
        if not _has_several_clocks(whole):
            remarks.append(f"it is {kind} whatever its name says: {error}")
            return False
        words = f"{error}: the parts are one after the other in {whole}, and most players show the first of them only"
        raise NotFetched("not_joined", words) from error
    return True


def _has_several_clocks(whole: str) -> bool:
    from vasset.adapters.extract.clock import stretches

    return len(stretches(whole)) > 1


def _kind(head: bytes) -> str | None:
    if head[4:8] in {b"ftyp", b"styp", b"moov", b"moof", b"sidx"}:
        return "mp4"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if head[:1] == b"G" and head[188:189] == b"G":
        return "mpegts"
    is_adts = head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0
    return "packed audio" if is_adts or head[:3] == b"ID3" else None
