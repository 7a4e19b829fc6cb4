"""Stands in front of ffmpeg and ffprobe: ``python -I -S ffmpeg_gate.py ffmpeg /usr/bin/ffmpeg ARGUMENTS…``.

Every file must lie in the working folder (the task's), every input gets the demuxer its bytes call for and nothing but the
``file`` protocol, and where the kernel allows it the program runs without a network. yt-dlp needs no other use of ffmpeg;
what is not recognised is refused.

It starts before every ffmpeg: ``pathlib``, ``re`` and ``enum`` would take as long as the interpreter itself.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.realpath(__file__).rsplit("/", 4)[0])

from vasset.adapters.extract.child import confinement
from vasset.adapters.extract.sniff import demuxer, sniff

QUESTIONS: tuple[list[str], ...] = ([], ["-bsfs"], ["-version"])
REFUSED = 98
# Options whose value is a file name, or an expression that can name one.
READS_FILES = frozenset(
    {"-filter", "-filter_complex", "-lavfi", "-vf", "-af", "-filter_script", "-filter_complex_script", "-pre", "-fpre",
     "-vpre", "-apre", "-spre", "-dump_attachment", "-progress", "-report", "-vstats_file", "-passlogfile", "-sdp_file"}
)  # fmt: skip
VALUES_ARE_WORDS = ("-metadata",)
LIST_SUFFIX = ".ffconcat"
LIST_LINE = r"file [A-Za-z0-9_][A-Za-z0-9_.-]*\.copy\.(?:mp4|mkv)\Z|duration [0-9]{1,9}(?:\.[0-9]{1,9})?\Z"
LISTED = frozenset({"mov", "matroska"})


class Refused(Exception):
    """The command would touch something besides the task's own files."""


def guarded(program: str, arguments: list[str], folder: str) -> list[str]:
    """The arguments ffmpeg really gets. Raises :class:`Refused`."""
    if arguments in QUESTIONS:
        return arguments
    return _ffprobe(arguments, folder) if program == "ffprobe" else _ffmpeg(arguments, folder)


def _ffprobe(arguments: list[str], folder: str) -> list[str]:
    *options, name = arguments
    if any(option.startswith("file:") or option in {"-i", "-f"} for option in options):
        raise Refused("ffprobe reads one file")
    return [*options, *_input_options(name, folder), "-i", name]


def _ffmpeg(arguments: list[str], folder: str) -> list[str]:
    result = ["-nostdin", "-max_alloc", str(1 << 30)]
    options: list[str] = []  # of the next input
    position = 0
    while position < len(arguments):
        word = arguments[position]
        value = arguments[position + 1] if position + 1 < len(arguments) else ""
        name = word.split(":", 1)[0]
        if name in READS_FILES or word.startswith("-/"):
            raise Refused(f"{name} may read files")
        if word == "-i":
            result += [*_without_format(options), *_input_options(value, folder), "-i", value]
            options = []
        elif word == "-attach":
            options += [word, "file:" + _inside(value, folder)]
        elif word.startswith(VALUES_ARE_WORDS):
            options += [word, value]
        else:
            if not word.startswith("-"):
                _check_word(word, folder)
            options.append(word)
            position += 1
            continue
        position += 2
    return [*result, *options]


def _without_format(options: list[str]) -> list[str]:
    """An input's own ``-f`` gives way to the one its bytes call for."""
    kept: list[str] = []
    words = iter(options)
    for word in words:
        if word in {"-f", "-pattern_type", "-safe"}:
            next(words, None)
        else:
            kept.append(word)
    return kept


def _input_options(name: str, folder: str) -> list[str]:
    if name.endswith(LIST_SUFFIX):
        _check_list(_inside(name, folder))
        return ["-protocol_whitelist", "file", "-f", "concat", "-safe", "1"]
    kind = sniff(_inside(name, folder))
    if kind is None:
        raise Refused(f"{os.path.basename(name)} is not media")
    return ["-protocol_whitelist", "file", "-f", demuxer(kind)]


def _check_list(path: str) -> None:
    """A list names copies that ffmpeg made in this folder a moment ago, and nothing else: bare names of media beside it."""
    import re
    from pathlib import Path

    first, *lines = Path(path).read_text(encoding="ascii").splitlines()
    if first != "ffconcat version 1.0" or not all(re.match(LIST_LINE, line) for line in lines):
        raise Refused("a list of files must name copies in its own folder")
    for line in lines:
        word, _, copy = line.partition(" ")
        beside = Path(path).parent / copy
        if word == "file" and (beside.is_symlink() or sniff(str(beside)) not in LISTED):
            raise Refused(f"{copy} is not media")


def _check_word(word: str, folder: str) -> None:
    """A bare word is a value or an output; whatever looks like a path or a protocol must be a file of the folder."""
    scheme, colon, _ = word.partition(":")
    if "/" in word or (colon and scheme.isalnum() and not scheme.isdigit() and len(scheme) > 1):
        _inside(word, folder)


def _inside(name: str, folder: str) -> str:
    path = name.removeprefix("file:")
    real = os.path.realpath(path)
    if os.path.commonpath([real, os.path.realpath(folder)]) != os.path.realpath(folder):
        raise Refused("a file outside the task's folder")
    return path


def main() -> None:
    program, executable, *arguments = sys.argv[1:]
    try:
        allowed = guarded(program, arguments, os.getcwd())
    except (Refused, OSError, ValueError) as error:
        sys.stderr.write(f"{program} was not started: {error}\n")
        sys.exit(REFUSED)
    confinement.die_with_parent()
    confinement.leave_network()
    os.execv(executable, [executable, *allowed])  # noqa: S606


if __name__ == "__main__":
    main()
