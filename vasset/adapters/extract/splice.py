"""Files whose clock begins anew become files of one clock, by ffmpeg and without encoding anything.

Each stretch becomes a file of its own, each of these a copy with times that begin at zero, and the copies follow one another. Streams
that play together (a picture and its sound) are given the same times: each stretch lasts as long as the longest of them there, or
the few milliseconds by which they differ would add up over the advertisements of a film.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from vasset.adapters.extract.clock import EBML, Stretch, stretches
from vasset.adapters.extract.complaints import complain_of_disk, last_words
from vasset.adapters.extract.proof import NotProved, Track, measure

SPLICE_SECONDS = 3_600
BLOCK_BYTES = 8 << 20
MOST_STRETCHES = 2_000
SKEW_SECONDS = 0.25  # per joint: how far the streams of one stretch may end apart
# Codecs whose packets carry what a decoder must know, so that another header is no other stream.
SELF_DESCRIBING = frozenset({"h264", "vp8", "vp9", "av1", "aac", "mp3", "opus", "ac3", "eac3", "flac", "vorbis"})


class CannotSplice(Exception):
    """The stretches cannot become one file; the message says why. The files are as they were."""


def straighten(ffmpeg: Path, files: Sequence[Path], *, folder: Path) -> bool:
    """Replace those of ``files`` whose clock begins anew; whether there were any. All lie in ``folder``.

    Raises :class:`CannotSplice` and the ``OSError`` of a disk that refuses.
    """
    found = {file: stretches(file) for file in files}
    if all(len(parts) <= 1 for parts in found.values()):
        return False
    if any(len(parts) > MOST_STRETCHES for parts in found.values()):
        raise CannotSplice(f"it is made of more than {MOST_STRETCHES} recordings")
    rubbish: list[Path] = []
    try:
        copies = {
            file: _copies(ffmpeg, file, parts or [_all_of(file)], rubbish, folder) for file, parts in found.items()
        }
        lasting = [
            max(length for length in lengths if length is not None)
            for lengths in zip_longest(*([length for _, length in each] for each in copies.values()))
        ]
        made = {
            file: _joined(ffmpeg, file, [copy for copy, _ in each], lasting, rubbish, folder)
            for file, each in copies.items()
            if len(found[file]) > 1
        }
        for file, joined in made.items():
            joined.replace(file)
    finally:
        for path in rubbish:
            path.unlink(missing_ok=True)
    return True


def _copies(
    ffmpeg: Path, file: Path, parts: Sequence[Stretch], rubbish: list[Path], folder: Path
) -> list[tuple[Path, float]]:
    """Each stretch as a file whose times begin at zero, and how long it plays."""
    is_matroska = _is_matroska(file)
    container, ext = ("matroska", "mkv") if is_matroska else ("mp4", "mp4")
    copies = []
    known: list[tuple[str, str]] | None = None
    for part in parts:
        base = f"splice{os.getpid()}-{len(rubbish)}"  # a name that may stand in a list
        cut, copy = folder / f"{base}.cut.{ext}", folder / f"{base}.copy.{ext}"
        rubbish += [cut, copy]
        _cut(file, part, cut)
        # One time base for all, or the second recording would play at the pace of the first.
        scale = () if is_matroska else ("-video_track_timescale", "90000")
        said = _run(
            ffmpeg,
            ["-i", f"file:{cut}", "-map", "0:V?", "-map", "0:a?", "-c", "copy", *scale, "-avoid_negative_ts", "make_zero",
             "-f", container, f"file:{copy}"],
            folder,
        )  # fmt: skip
        cut.unlink()
        described = _described(said)
        if known is not None and described != known:
            raise CannotSplice(
                f"it is made of recordings that differ ({_words(known)}, then {_words(described)}), which one file cannot hold"
            )
        known = described
        copies.append((copy, _length(ffmpeg, copy, folder)))
    return copies


def _joined(
    ffmpeg: Path,
    file: Path,
    copies: Sequence[Path],
    lasting: Sequence[float],
    rubbish: list[Path],
    folder: Path,
) -> Path:
    base = f"splice{os.getpid()}-{len(rubbish)}"
    listed, made = folder / f"{base}.ffconcat", folder / f"{base}.joined"
    rubbish += [listed, made]
    lines = [f"file {copy.name}\nduration {seconds:.6f}\n" for copy, seconds in zip(copies, lasting, strict=False)]
    listed.write_text("ffconcat version 1.0\n" + "".join(lines), encoding="ascii")
    container = "matroska" if _is_matroska(file) else "mp4"
    _run(ffmpeg, ["-i", f"file:{listed}", "-map", "0", "-c", "copy", "-f", container, f"file:{made}"], folder)
    for copy in copies:
        copy.unlink()
    expected = sum(lasting[: len(copies)])
    tracks = _tracks(ffmpeg, made, folder)
    for track in tracks:
        if abs(track.length - expected) > SKEW_SECONDS * len(copies) + 2 * track.frame:
            raise CannotSplice(f"joined, its {track.kind} plays {track.length:.1f} s of {expected:.1f} s")
    with made.open("rb") as whole:
        os.fsync(whole.fileno())
    return made


def _all_of(file: Path) -> Stretch:
    """What needs no straightening, but plays together with what does."""
    return Stretch((0, 0), (0, file.stat().st_size))


def _cut(file: Path, part: Stretch, target: Path) -> None:
    with file.open("rb") as source, target.open("wb") as cut:
        for start, end in (part.header, part.body):
            source.seek(start)
            left = end - start
            while left > 0:
                block = source.read(min(left, BLOCK_BYTES))
                if not block:
                    raise CannotSplice("it is shorter than it was a moment ago")
                cut.write(block)
                left -= len(block)


def _run(ffmpeg: Path, arguments: Sequence[str], folder: Path) -> str:
    done = subprocess.run(
        [str(ffmpeg), "-hide_banner", "-nostats", "-y", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SPLICE_SECONDS,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    complain_of_disk(said)
    if done.returncode != 0:
        raise CannotSplice(f"ffmpeg refused a part of it ({last_words(said) or f'exit code {done.returncode}'})")
    return said


def _described(said: str) -> list[tuple[str, str]]:
    """What ffmpeg says of the streams it reads: the codec, and what must be the same throughout a file."""
    streams = []
    for line in said.partition("Output #0")[0].splitlines():
        for kind in ("Video: ", "Audio: "):
            if not line.lstrip().startswith("Stream #") or kind not in line:
                continue
            words = [word.strip() for word in _without_brackets(line.partition(kind)[2]).split(",")]
            codec = words[0].split(" ")[0]
            same = next((word.split(" ")[0] for word in words if "x" in word and word[:1].isdigit()), "")
            if kind == "Audio: ":
                same = " ".join(words[1:3])
            streams.append((codec, same))
    return streams


def _without_brackets(text: str) -> str:
    kept, depth = [], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and letter not in ")]":
            kept.append(letter)
    return "".join(kept)


def _words(streams: Sequence[tuple[str, str]]) -> str:
    return " and ".join(f"{codec} {same}".strip() for codec, same in streams) or "nothing"


def _tracks(ffmpeg: Path, file: Path, folder: Path) -> list[Track]:
    try:
        (tracks,) = measure(ffmpeg, [file], folder=folder)
    except NotProved as error:
        raise CannotSplice(str(error)) from error
    if not any(track.packets for track in tracks):
        raise CannotSplice("a part of it has neither a picture nor a sound")
    return tracks


def _length(ffmpeg: Path, file: Path, folder: Path) -> float:
    tracks = _tracks(ffmpeg, file, folder)
    return max(track.end for track in tracks) - min(0.0, *(track.start for track in tracks))


def _is_matroska(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == EBML
