"""One suite per port, run over every adapter."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.databases import empty, migrate_now, migrated_sqlite, opened, postgres_server, sqlite_url
from vasset.adapters.db.database import Database
from vasset.bootstrap.local_servers import ServerMissing

DATABASES = [pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.servers)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    try:
        with postgres_server() as server:
            migrate_now(server.url)
            yield server.url
    except ServerMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database; PostgreSQL's is shared and still full of the previous test."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    path = tmp_path / "vasset.db"
    shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
    return sqlite_url(path)


@pytest.fixture
async def database(database_url: str, clock: FakeClock) -> AsyncIterator[Database]:
    """A fresh database whose time is ``clock``'s."""
    async with opened(database_url, clock) as database:
        if not database.is_sqlite:
            await empty(database)
        yield database
