"""Which file each of several addresses goes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from vasset.adapters.storage.titles import safe_title


def files_for(urls: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """``outputs`` are as many files, or one folder: then the last part of each path names its file, and a name that comes again is numbered.

    Raises ``ValueError`` in words when they do not fit.
    """
    if len(outputs) == 1 and (outputs[0].endswith("/") or Path(outputs[0]).is_dir()):
        return [str(Path(outputs[0]) / name) for name in _names(urls)]
    if len(outputs) != len(urls):
        raise ValueError("give -o once for each address, or once with a folder that exists")
    if len(set(outputs)) != len(outputs):
        raise ValueError("two addresses cannot go to one file; give each a -o of its own")
    return list(outputs)


def _names(urls: Sequence[str]) -> list[str]:
    names: list[str] = []
    for url in urls:
        plain = PurePosixPath(safe_title(unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])))
        name, number = plain.name, 1
        while name in names:
            number += 1
            name = f"{plain.stem} ({number}){plain.suffix}"
        names.append(name)
    return names
