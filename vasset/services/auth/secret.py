"""The key that signs access tokens, made once when the operator gives none."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

FILE_NAME = "secret.key"


def signing_secret(configured: str | None, data_dir: Path) -> bytes:
    """The configured key, else the one in the data folder, made on first use with mode 0600.

    Two processes that start at once agree: the key is written aside and linked into place, which only one of them can do.
    """
    if configured is not None:
        return configured.encode()
    path = data_dir / FILE_NAME
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = data_dir / f".{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # the other process was first: its key counts
                _put_in_place(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    secret = path.read_bytes().strip()
    if len(secret) < 32:
        raise ValueError(f"the signing key in {path} is damaged; remove it (everybody must sign in again) and restart")
    return secret


def _put_in_place(draft: Path, path: Path) -> None:
    """Without taking another's place; where there are no hard links, for the one process that holds the folder's lock."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        if not path.exists():
            draft.rename(path)
