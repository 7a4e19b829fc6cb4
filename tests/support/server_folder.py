"""A folder for servers that run as another user: pytest's own folders are closed to them, at a depth that differs with xdist."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """Readable by everybody, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"vasset-{name}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
