"""A product that cannot work says why in one sentence, with an exit code, and changes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import text

from tests.support.databases import migrate_now, sqlite_url
from tests.support.processes import run_vasset
from vasset.adapters.db.database import open_database
from vasset.adapters.db.migrate import HEAD, migrate, revision_of
from vasset.bootstrap.local_servers import PostgresServer

ROLES = ("gateway", "auth", "downloader", "asset")  # the parser keeps no rows
SERVERS = [pytest.mark.servers, pytest.mark.xdist_group("servers")]
SECRETS = {"secret_key": "k" * 32, "service_token": "t" * 32}


async def refused(folder: Path, role: str, **settings: str) -> str:
    """Start one role that must not start; answers its sentence."""
    (folder / role).mkdir()
    ports = {"port": "0"} if role in {"gateway", "serve"} else {"service_port": "0", "metrics_port": "0"}
    code, out, err = await run_vasset(role, data_dir=str(folder / role), **SECRETS, **ports, **settings)
    assert code == 1, (role, code, out, err)
    assert err.startswith("vasset: "), (role, err)
    assert err.count("\n") == 1, (role, err)
    assert "ready" not in out
    return err


async def set_revision(url: str, revision: str) -> None:
    database = open_database(url)
    async with database.write() as transaction:
        await transaction.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
    await database.close()


async def revision(url: str) -> str | None:
    database = open_database(url)
    try:
        return await revision_of(database)
    finally:
        await database.close()


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_every_role_refuses_a_schema_it_does_not_know(postgres_url: str, tmp_path: Path) -> None:
    """Newer than this version, or older than any it was ever made of: both need an operator."""
    await asyncio.to_thread(migrate_now, postgres_url)
    for unknown in ("9999", "0000"):
        folder = tmp_path / unknown
        folder.mkdir()
        await set_revision(postgres_url, unknown)
        said = await asyncio.gather(*(refused(folder, role, database_url=postgres_url) for role in ROLES))
        for sentence in said:
            assert unknown in sentence
            assert "restore the backup" in sentence
        assert await revision(postgres_url) == unknown, "a refused start changed the schema"


async def test_embedded_refuses_a_schema_it_does_not_know(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "vasset.db")
    await asyncio.to_thread(migrate_now, url)
    await set_revision(url, "9999")
    assert "9999" in await refused(tmp_path, "serve", database_url=url)
    assert await revision(url) == "9999"


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=SERVERS)])
async def test_an_older_schema_is_brought_up_with_its_rows(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else sqlite_url(tmp_path / "vasset.db")
    database = open_database(url)
    await migrate(database, "0001")
    async with database.write() as transaction:
        await transaction.execute(
            text(
                "INSERT INTO users (email, password_hash, nickname, role, created_at, updated_at) "
                "VALUES ('ann@example.test', 'none', 'Ann', 1, :now, :now)"
            ),
            {"now": transaction.now if kind == "postgresql" else transaction.now.isoformat(" ")},
        )
    await database.close()
    code, out, err = await run_vasset("migrate", "--data-dir", str(tmp_path), database_url=url)
    assert code == 0, (out, err)
    code, out, err = await run_vasset("doctor", "--data-dir", str(tmp_path), database_url=url)
    assert code == 0, (out, err)
    assert await revision(url) == HEAD


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_wrong_credentials_for_the_database_are_named(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Three mistakes an operator makes, each with what to correct; never the password."""
    address = {"host": "127.0.0.1", "port": postgres_server.port, "user": "vasset", "database": "postgres"}
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    operator = await asyncpg.connect(**address)
    try:
        await operator.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        rules.write_text("host all locked 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
        await operator.execute("SELECT pg_reload_conf()")
        base = f"127.0.0.1:{postgres_server.port}"
        mistakes = {
            f"postgresql+asyncpg://locked:canary-wrong@{base}/postgres": "refused our user",
            f"postgresql+asyncpg://nobody@{base}/postgres": "refused our user",
            f"postgresql+asyncpg://vasset@{base}/nowhere": "does not exist",
            "postgresql+asyncpg://vasset@127.0.0.1:1/vasset": "did not answer",
        }
        for number, (url, words) in enumerate(mistakes.items()):
            folder = tmp_path / str(number)
            folder.mkdir()
            said = await asyncio.gather(*(refused(folder, role, database_url=url) for role in ("gateway", "asset")))
            for sentence in said:
                assert words in sentence, (url, sentence)
                assert "canary" not in sentence
    finally:
        rules.write_text(rules.read_text().split("\n", 1)[1])
        await operator.execute("SELECT pg_reload_conf()")
        await operator.execute("DROP ROLE locked")
        await operator.close()


async def test_a_missing_service_token_is_named(tmp_path: Path) -> None:
    code, _, err = await run_vasset("asset", data_dir=str(tmp_path), service_port="0", metrics_port="0")
    assert code == 1
    assert "VASSET_SERVICE_TOKEN" in err
    assert "Traceback" not in err
