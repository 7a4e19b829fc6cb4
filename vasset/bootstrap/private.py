"""The data folder is its owner's alone: accounts, sessions and keys lie in it, and files whose addresses nobody else may learn."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def keep_private(data_dir: Path, *, is_shared: bool) -> None:
    """Make the folder and the database in it, or take everybody else's rights to the database away.

    A folder that is there already keeps its mode: somebody made it for this, perhaps for a group. ``is_shared`` is for files that
    another program serves (nginx by ``X-Accel-Redirect``), which has to get at them. Raises ``OSError``.
    """
    if not data_dir.exists():
        data_dir.mkdir(parents=True, mode=0o755 if is_shared else FOLDER_MODE)
    database = data_dir / "vasset.db"
    # SQLite gives its log and index the mode of the file they belong to.
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    for name in ("vasset.db", "vasset.db-wal", "vasset.db-shm"):
        path = data_dir / name
        with contextlib.suppress(FileNotFoundError, PermissionError):  # another user's, who decides about it
            if path.stat().st_mode & 0o077:
                path.chmod(FILE_MODE)
