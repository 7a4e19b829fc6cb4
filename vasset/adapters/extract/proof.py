"""Whether a file that ffmpeg wrote is whole: it opens, has the streams of its sources, and each plays as long as its source.

ffmpeg answers 0 on a full disk when it copies: the trailer that could not be written is a line on standard error. So its word
counts for nothing here; the made file and its sources are read packet by packet (``-f framecrc``), which needs neither ffprobe nor a
decoder: all in one run, or the sources already in the run that makes the file of them. Standard library only: the extraction children and ``vasset fetch`` both use it.
"""

from __future__ import annotations

import re
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO

from vasset.adapters.extract.complaints import last_words

FRAMES = 2.0  # how far a copy may be from its source
ROUNDING_SECONDS = 0.05  # Matroska counts milliseconds, MPEG-TS 90 kHz, MP4 its own
ENCODER_SECONDS = 0.25  # what an audio encoder adds before and after
RECORDING_SECONDS = 5.0  # what was on air has gaps, and a copy may close one of them
CLOCK_SECONDS = 1.0  # packets that play this much longer than their clock says: the clock begins anew in between
PROVING_SECONDS = 3_600
MAPPED = re.compile(r"\s*Stream #(\d+):\d+ -> #0:(\d+) ")
LINES_KEPT = 1_000
LINE_LENGTH = 500
# Pictures that are not covers, and sounds; each only where there is one.
MAPS = ("V", "a")
# The end of a command whose last output is every packet of the streams mapped before it.
PACKETS = ("-c", "copy", "-f", "framecrc", "-")


class NotProved(Exception):
    """The file is not what its sources say it must be; the message says in what."""


@dataclass(slots=True)
class Track:
    """One stream as its packets tell. ``played`` is the sum of their durations, ``length`` what the clock says."""

    kind: str = "data"
    codec: str = "unknown"
    packets: int = 0
    start: float = 0.0
    end: float = 0.0
    played: float = 0.0
    time_base: Fraction = field(default=Fraction(1, 1000), repr=False)

    @property
    def length(self) -> float:
        return self.end - self.start

    @property
    def frame(self) -> float:
        return self.length / self.packets if self.packets else 0.0

    def add(self, stamps: Sequence[str]) -> None:
        begin = float(int(stamps[1]) * self.time_base)
        lasts = float(int(stamps[2]) * self.time_base)
        self.start = min(self.start, begin) if self.packets else begin
        self.end = max(self.end, begin + lasts) if self.packets else begin + lasts
        self.played += lasts
        self.packets += 1


def measure(ffmpeg: Path, files: Sequence[Path], *, folder: Path) -> list[list[Track]]:
    """The pictures and sounds of each file, read to their ends. Every file lies in ``folder``.

    Raises :class:`NotProved` when one cannot be read.
    """
    command = [str(ffmpeg), "-hide_banner", "-loglevel", "repeat+info", "-nostats"]
    for file in files:
        command += ["-i", f"file:{file.absolute()}"]
    for number in range(len(files)):
        for kind in MAPS:
            command += ["-map", f"{number}:{kind}?"]
    tracks, said, code = run([*command, *PACKETS], folder=folder, seconds=PROVING_SECONDS)
    if code != 0:
        raise NotProved(f"it cannot be read ({last_words(said) or f'ffmpeg ended with {code}'})")
    return _by_file(tracks, said, len(files))


def run(command: Sequence[str], *, folder: Path, seconds: float) -> tuple[dict[int, Track], str, int]:
    """What ``command`` writes by :data:`PACKETS`, by the number of the stream in that output; its words; its exit code.

    ``seconds`` bounds how long it may take to end after its last packet.
    """
    process = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", errors="replace",
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        tracks, said = _read(process.stdout, process.stderr)
        code = process.wait(seconds)
    return tracks, said, code


def prove(
    ffmpeg: Path,
    made: Path,
    sources: Sequence[Path],
    *,
    folder: Path,
    kinds: Iterable[str] = ("video", "audio"),
    seconds: float | None = None,
    seconds_tolerance: float = 1.0,
    is_converted: bool = False,
    is_recording: bool = False,
    measured: Sequence[Track] | None = None,
) -> list[Track]:
    """The tracks of ``made``. Raises :class:`NotProved`.

    Of every kind in ``kinds`` that the sources have, ``made`` has a track, and each of its tracks ends where the track it was
    made of ends. ``seconds`` is what a playlist says besides; ``is_converted`` allows for an encoder's padding, ``is_recording`` for
    the gaps and clocks of what was on air. ``measured`` are the sources' tracks where they are known, and ``sources`` is not read then.
    """
    if not made.is_file() or made.stat().st_size == 0:
        raise NotProved("there is no file")
    result, *originals = measure(ffmpeg, [made, *(sources if measured is None else ())], folder=folder)
    wanted = [track for tracks in originals for track in tracks] if measured is None else measured
    compare(result, wanted, kinds=kinds, is_converted=is_converted, is_recording=is_recording)
    if seconds is not None:
        lasts = max((track.length for track in result), default=0.0)
        if abs(lasts - seconds) > seconds_tolerance:
            raise NotProved(f"it plays {lasts:.1f} s of {seconds:.1f} s")
    return result


def compare(
    made: Sequence[Track],
    sources: Sequence[Track],
    *,
    kinds: Iterable[str] = ("video", "audio"),
    is_converted: bool = False,
    is_recording: bool = False,
) -> None:
    """Pure part of :func:`prove`."""
    if not any(track.packets for track in made):
        raise NotProved("there is neither a picture nor a sound in it")
    for track in made if not is_recording else ():
        if track.played > track.length + CLOCK_SECONDS + track.frame * FRAMES:
            raise NotProved(
                f"the clock of its {_noun(track.kind)} begins anew: {track.played:.1f} s of it play in {track.length:.1f} s"
            )
    for kind in kinds:
        wanted = [track for track in sources if track.kind == kind and track.packets]
        found = [track for track in made if track.kind == kind and track.packets]
        if wanted and not found:
            raise NotProved(f"its {_noun(kind)} is missing")
        for source, copy in zip(wanted, found, strict=False):
            allowed = FRAMES * max(source.frame, copy.frame) + ROUNDING_SECONDS + ENCODER_SECONDS * is_converted
            allowed += RECORDING_SECONDS * is_recording
            if abs(source.length - copy.length) > allowed:
                raise NotProved(f"its {_noun(kind)} plays {copy.length:.2f} s of {source.length:.2f} s")


def _noun(kind: str) -> str:
    return {"video": "picture", "audio": "sound"}.get(kind, kind)


def _read(packets: IO[str], words: IO[str]) -> tuple[dict[int, Track], str]:
    """Both pipes at once: a damaged film fills the second one while nobody looks."""
    from threading import Thread

    said: list[str] = []
    beside = Thread(target=lambda: said.extend(_bounded(words)), daemon=True)
    beside.start()
    tracks = _tracks(packets)
    beside.join()
    return tracks, "".join(said)


def _bounded(words: IO[str]) -> Iterator[str]:
    """The beginning, where the streams are named, and the last words."""
    tail: deque[str] = deque(maxlen=LINES_KEPT)
    for number, line in enumerate(words):
        if number < LINES_KEPT:
            yield line[:LINE_LENGTH]
        else:
            tail.append(line[:LINE_LENGTH])
    yield from tail


def _tracks(lines: Iterable[str]) -> dict[int, Track]:
    tracks: dict[int, Track] = {}
    for line in lines:
        if line.startswith("#"):
            _head(tracks, line)
            continue
        stamps = line.split(",", 4)
        if len(stamps) == 5:
            track = tracks.setdefault(int(stamps[0]), Track())
            track.add((stamps[1], stamps[2], stamps[3]))
    return tracks


def _head(tracks: dict[int, Track], line: str) -> None:
    """``#tb 0: 1/12800``, ``#media_type 0: video``, ``#codec_id 0: h264``."""
    name, _, value = line[1:].strip().partition(": ")
    word, _, number = name.partition(" ")
    if not number.isdigit():
        return
    track = tracks.setdefault(int(number), Track())
    if word == "tb":
        track.time_base = Fraction(value)
    elif word == "media_type":
        track.kind = value
    elif word == "codec_id":
        track.codec = value


def _by_file(tracks: dict[int, Track], said: str, count: int) -> list[list[Track]]:
    files: list[list[Track]] = [[] for _ in range(count)]
    for line in said.splitlines():
        if (found := MAPPED.match(line)) and (track := tracks.get(int(found[2]))) is not None:
            files[int(found[1])].append(track)
    return files
