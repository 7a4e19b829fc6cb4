"""The schema is brought up to date by a child, which says what it cannot do; the service itself never loads Alembic."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.databases import sqlite_url
from tests.support.processes import run_vasset
from vasset.adapters.db.database import open_database
from vasset.adapters.db.migrate import HEAD, SchemaMismatch, revision_of
from vasset.bootstrap.schema import bring_up_to_date
from vasset.config import Settings


async def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "vasset.db")
    for expected in (f"The schema went from none to {HEAD}.\n", f"The schema was already at {HEAD}.\n"):
        assert await run_vasset("migrate", "--data-dir", str(tmp_path), database_url=url) == (0, expected, "")


async def test_a_missing_data_folder_is_named_and_not_called_an_outage(tmp_path: Path) -> None:
    code, _, err = await run_vasset("migrate", "--data-dir", str(tmp_path / "nowhere"))
    assert (code, err) == (
        1,
        f"vasset: there is no data folder {tmp_path / 'nowhere'}; name the server's with --data-dir\n",
    )


async def test_a_start_leaves_alembic_to_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
        monkeypatch.delitem(sys.modules, name)
    settings = Settings(data_dir=tmp_path)
    database = open_database(settings.resolved_database_url)
    try:
        await bring_up_to_date(database, settings)
        assert await revision_of(database) == HEAD
        assert "alembic" not in sys.modules
    finally:
        await database.close()


async def test_what_the_child_cannot_do_is_raised_here_in_its_words(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    database = open_database(settings.resolved_database_url)
    try:
        await bring_up_to_date(database, settings)
        async with database.write() as transaction:
            await transaction.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SchemaMismatch, match="restore the backup"):
            await bring_up_to_date(database, settings)
    finally:
        await database.close()
