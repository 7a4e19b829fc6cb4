"""``vasset migrate``, and the same at every start, in a child: Alembic is 12 MiB that a service of weeks would carry for one second."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

from vasset.domain.errors import DependencyDown, DiskFull, Unavailable, VAssetError

if TYPE_CHECKING:
    from vasset.adapters.db.database import Database
    from vasset.config import Settings


async def bring_up_to_date(database: Database, settings: Settings) -> None:
    """Usually one SELECT. Raises ``SchemaMismatch``, ``DependencyDown`` or ``DiskFull`` in the child's words."""
    from vasset.adapters.db.migrate import HEAD, SchemaMismatch, revision_of

    if await revision_of(database) == HEAD:
        return
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vasset.bootstrap.schema",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "VASSET_DATABASE_URL": settings.resolved_database_url},
    )  # fmt: skip
    try:
        said, _ = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode == 0:
        return
    kinds: dict[str, type[VAssetError]] = {kind.reason: kind for kind in (SchemaMismatch, DependencyDown, DiskFull)}
    try:
        failure = json.loads(said)
    except ValueError:
        raise Unavailable(f"bringing the database's schema up to date ended with {child.returncode}") from None
    raise kinds.get(failure["reason"], Unavailable)(failure["message"])


def migrate_command(settings: Settings) -> int:
    """Bring the schema to this version's and say what was done: for a rollout whose services start afterwards."""
    if settings.database_url is None and not settings.data_dir.is_dir():
        raise Unavailable(f"there is no data folder {settings.data_dir}; name the server's with --data-dir")
    before, after = asyncio.run(_migrate(settings.resolved_database_url))
    sys.stdout.write(
        f"The schema was already at {after}.\n"
        if before == after
        else f"The schema went from {before or 'none'} to {after}.\n"
    )
    return 0


async def _migrate(url: str) -> tuple[str | None, str]:
    from vasset.adapters.db.database import open_database
    from vasset.adapters.db.migrate import HEAD, migrate, revision_of

    database = open_database(url, pool_size=1)
    try:
        before = await revision_of(database)
        await migrate(database)
        return before, HEAD
    finally:
        await database.close()


def _child() -> int:
    try:
        asyncio.run(_migrate(os.environ["VASSET_DATABASE_URL"]))
    except VAssetError as error:
        json.dump({"reason": error.reason, "message": error.message}, sys.stdout)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_child())
