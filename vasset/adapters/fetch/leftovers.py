"""Streams that an earlier run of ``vasset fetch`` finished before it was stopped: whose are they?

Beside them stands a note of the playlist's address. What came from another one is removed: the sound of the film before, under
the same name, would be merged with this picture. Unfinished parts stay, whatever the address: the engine compares their
bytes with the origin's before it goes on, so that a fresh signature costs no resume.
"""

from __future__ import annotations

import os
from hashlib import sha256

NOTE = ".source"


def keep_only_those_of(address: str, output: str) -> None:
    """Removes complete streams beside ``output`` that did not come from ``address``, and notes it for the next run."""
    digest = sha256(address.encode(errors="surrogatepass")).hexdigest()
    note = output + NOTE
    if _read(note) == digest:
        return
    folder, name = os.path.split(output)
    try:
        entries = os.listdir(folder or ".")  # noqa: PTH208 - pathlib costs a start of this command 5 ms
    except OSError:
        return  # there is no such folder: the engine says so
    for entry in entries:
        if entry.startswith(f"{name}.") and _is_stream(entry[len(name) + 1 :]):
            os.unlink(os.path.join(folder, entry))  # noqa: PTH108, PTH118
    try:
        with open(note, "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(digest)
    except OSError:
        return  # the next run finds no note, and fetches anew


def forget(output: str, *, unless_kept: bool = False) -> None:
    """Removes the note; ``unless_kept``, only when nothing is there that it speaks of."""
    folder, name = os.path.split(output)
    try:
        entries = os.listdir(folder or ".") if unless_kept else []  # noqa: PTH208 - as above
        if any(
            each.startswith(f"{name}.") and _is_stream(each[len(name) + 1 :].removesuffix(".part")) for each in entries
        ):
            return
        os.unlink(output + NOTE)  # noqa: PTH108
    except OSError:
        return


def _is_stream(suffix: str) -> bool:
    number, _, kind = suffix.rpartition(".")
    return kind in {"audio", "video", "whole"} and (number.isdecimal() or (kind == "whole" and not number))


def _read(note: str) -> str:
    try:
        with open(note, encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return file.read(100)
    except OSError:
        return ""
