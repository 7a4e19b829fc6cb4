"""What lies on the disk, for ``vasset doctor``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from vasset.domain.audit import ListedFile


class DiskListing:
    """Published files below ``tmp/`` and ``archive/``; links are not followed, workspaces (dot folders) are not entered."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    async def files(self) -> Sequence[ListedFile]:
        return await asyncio.to_thread(lambda: list(self._walk()))

    def _walk(self) -> Iterator[ListedFile]:
        now = time.time()
        for top in ("tmp", "archive"):
            for folder, subfolders, names in os.walk(self._root / top):
                subfolders[:] = [name for name in subfolders if not name.startswith(".")]
                for name in names:
                    path = Path(folder) / name
                    try:
                        status = path.lstat()
                    except FileNotFoundError:
                        continue  # gone while we looked
                    yield ListedFile(str(path.relative_to(self._root)), status.st_size, now - status.st_ctime)
