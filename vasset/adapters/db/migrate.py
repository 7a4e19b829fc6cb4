"""Bring the schema to the version this code speaks; refuse one it does not know.

Runs at every start, so the usual case is one SELECT and no import of Alembic. Several processes may start at once: on PostgreSQL
an advisory lock, on SQLite the write transaction lets one migrate and the others find it done.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from vasset.adapters.db.database import Database
from vasset.domain.errors import Unavailable

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"
_ADVISORY_LOCK = 0x7641_5353_4554  # "vASSET": any number that nobody else takes


class SchemaMismatch(Unavailable):
    """The database has a schema this version does not know."""

    reason = "schema_mismatch"
    retryable = False


async def migrate(database: Database, target: str = HEAD) -> None:
    """Upgrade or downgrade to ``target``, in one transaction. Raises ``SchemaMismatch``, ``DependencyDown``."""
    if target == HEAD and await revision_of(database) == HEAD:
        return
    await database.overhaul(lambda connection: _run(connection, target))


async def revision_of(database: Database) -> str | None:
    """The schema's version, or None for an empty database."""
    return await database.inspect(_revision)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


def _run(connection: Connection, target: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "sqlite":
        # Copying a table drops the old one; foreign keys are checked when the transaction ends instead.
        connection.execute(text("PRAGMA defer_foreign_keys=ON"))
    else:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    config = alembic_config()
    current = _revision(connection)
    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]  # newest first
    if current is not None and current not in known:
        raise SchemaMismatch(
            f"the database is at schema {current}, which this version (up to {HEAD}) does not know; "
            "start the newer version, or restore the backup made before it"
        )
    config.attributes["connection"] = connection
    goes_down = target == "base" or (current is not None and known.index(target) > known.index(current))
    (command.downgrade if goes_down else command.upgrade)(config, target)


def alembic_config() -> Config:
    """Alembic's configuration without its ini file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config
