"""TLS by setting, with real certificates: services know each other, and know the database; strangers are refused on both sides."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.api_client import api_client
from tests.support.certificates import Authority
from tests.support.deployments import DistributedDeployment, RunningCluster
from tests.support.processes import run_vasset
from tests.support.server_folder import server_folder
from vasset.adapters.db.database import open_database
from vasset.bootstrap.cluster import Servers
from vasset.bootstrap.local_servers import PostgresServer, RabbitServer, RedisServer
from vasset.domain.errors import DependencyDown
from vasset.domain.media import MediaInfo
from vasset.domain.user import Identity, Role
from vasset.services.client import open_channel
from vasset.services.parser import client as parser_client
from vasset.services.parser.servicer import ParserServicer
from vasset.services.proto import parser_pb2, parser_pb2_grpc
from vasset.services.server import ServiceServer, TlsFiles

TOKEN = "t" * 32
SOMEBODY = Identity(1, Role.FREE, 1)


class EchoParser:
    async def parse(self, identity: Identity, url: str, *, playlist_page: int = 1) -> MediaInfo:
        return MediaInfo(url=url, kind="single", id="x", title="Seen", site="example")


@dataclass
class Pki:
    ours: Authority
    theirs: Authority
    service: TlsFiles


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    ours, theirs = Authority(folder / "ours", "ours"), Authority(folder / "theirs", "theirs")
    return Pki(ours, theirs, files(ours, "parser", trusts=ours))


def files(authority: Authority, name: str, *, trusts: Authority, host: str = "127.0.0.1") -> TlsFiles:
    certified = authority.certify(name, host=host)
    return TlsFiles(certified.certificate, certified.key, trusts.path)


@asynccontextmanager
async def parser_behind(tls: TlsFiles) -> AsyncIterator[str]:
    server = ServiceServer(TOKEN, tls=tls)
    server.add(
        parser_pb2_grpc.add_ParserServiceServicer_to_server,
        ParserServicer(EchoParser()),
        parser_pb2.DESCRIPTOR.services_by_name["ParserService"],
    )
    port = await server.start("127.0.0.1", 0)
    await server.set_ready(True)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def ask(address: str, tls: TlsFiles | None) -> MediaInfo:
    channel = open_channel(address, idempotent=parser_client.IDEMPOTENT, tls=tls)
    try:
        return await parser_client.ParserClient(channel, TOKEN, timeout_seconds=5).parse(SOMEBODY, "https://a.example/")
    finally:
        await channel.close()


async def test_services_of_one_authority_talk(pki: Pki) -> None:
    async with parser_behind(pki.service) as address:
        assert (await ask(address, files(pki.ours, "gateway", trusts=pki.ours))).title == "Seen"


async def test_a_certificate_of_another_authority_is_refused(pki: Pki) -> None:
    async with parser_behind(pki.service) as address:
        with pytest.raises(DependencyDown):
            await ask(address, files(pki.theirs, "intruder", trusts=pki.ours))


async def test_a_caller_without_certificate_or_without_tls_is_refused(pki: Pki, tmp_path: Path) -> None:
    import grpc

    async with parser_behind(pki.service) as address:
        with pytest.raises(DependencyDown):
            await ask(address, None)
        credentials = grpc.ssl_channel_credentials(pki.ours.path.read_bytes())
        async with grpc.aio.secure_channel(address, credentials) as channel:
            with pytest.raises(DependencyDown):
                await parser_client.ParserClient(channel, TOKEN, timeout_seconds=5).parse(
                    SOMEBODY, "https://a.example/"
                )


async def test_a_service_that_is_not_ours_is_not_believed(pki: Pki) -> None:
    """The token must not be sent to whoever answers at the address."""
    impostor = files(pki.theirs, "impostor", trusts=pki.ours)
    wrong_name = files(pki.ours, "elsewhere", trusts=pki.ours, host="parser.elsewhere.test")
    for server in (impostor, wrong_name):
        async with parser_behind(server) as address:
            with pytest.raises(DependencyDown):
                await ask(address, files(pki.ours, "gateway", trusts=pki.ours))


@pytest.mark.parametrize(
    ("missing", "word"), [("authority", "one is missing"), ("key", "one is missing"), ("unreadable", "cannot be read")]
)
async def test_half_a_setting_is_one_sentence(pki: Pki, tmp_path: Path, missing: str, word: str) -> None:
    certified = pki.ours.certify("half")
    named = {
        "service_tls_certificate": str(certified.certificate),
        "service_tls_key": str(tmp_path / "nowhere") if missing == "unreadable" else str(certified.key),
        "service_tls_authority": str(pki.ours.path),
    }
    named.pop(f"service_tls_{missing}", None)
    code, out, err = await run_vasset(
        "asset", data_dir=str(tmp_path), service_token=TOKEN, service_port="0", metrics_port="0", **named
    )
    assert (code, out) == (1, "")
    assert err.startswith("vasset: "), err
    assert word in err
    assert "Traceback" not in err


# --- the database ---


@pytest.fixture(scope="module")
def tls_postgres(pki: Pki) -> Iterator[PostgresServer]:
    """PostgreSQL that takes encrypted connections only."""
    with server_folder("postgres-tls") as folder, PostgresServer(folder, fsync=False) as server:
        certified = pki.ours.certify("postgres")
        data = folder / "data"
        for source, name in ((certified.certificate, "server.crt"), (certified.key, "server.key")):
            shutil.copy(source, data / name)
            if os.geteuid() == 0:
                shutil.chown(data / name, "postgres", "postgres")
            (data / name).chmod(0o600)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write("ssl = on\n")
        (data / "pg_hba.conf").write_text(
            "hostssl all all 127.0.0.1/32 trust\nhostnossl postgres all 127.0.0.1/32 trust\n"
        )
        server.stop()
        server.start()
        yield server


async def ping(url: str) -> None:
    database = open_database(url, pool_size=1)
    try:
        await database.ping()
    finally:
        await database.close()


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_the_database_is_verified_in_full(tls_postgres: PostgresServer, pki: Pki) -> None:
    url = tls_postgres.url
    await ping(f"{url}?sslmode=verify-full&sslrootcert={pki.ours.path}")
    with pytest.raises(DependencyDown, match="certificate"):
        await ping(f"{url}?sslmode=verify-full&sslrootcert={pki.theirs.path}")
    by_name = url.replace("127.0.0.1", "localhost")  # the certificate names the address only
    with pytest.raises(DependencyDown, match="certificate"):
        await ping(f"{by_name}?sslmode=verify-full&sslrootcert={pki.ours.path}")
    await ping(f"{by_name}?sslmode=verify-ca&sslrootcert={pki.ours.path}")
    with pytest.raises(DependencyDown, match="refused"):
        await ping(f"{url}?sslmode=disable")


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_a_role_says_in_one_sentence_that_it_does_not_trust_the_database(
    tls_postgres: PostgresServer, pki: Pki, tmp_path: Path
) -> None:
    code, _, err = await asyncio.wait_for(
        run_vasset(
            "asset",
            data_dir=str(tmp_path),
            service_token=TOKEN,
            service_port="0",
            metrics_port="0",
            database_url=f"{tls_postgres.url}?sslmode=verify-full&sslrootcert={pki.theirs.path}",
        ),
        60,
    )
    assert code == 1
    assert err.startswith("vasset: ")
    assert "certificate" in err
    assert "Traceback" not in err


@pytest.mark.servers
@pytest.mark.xdist_group("servers")
async def test_the_whole_product_runs_over_mtls(
    pki: Pki,
    postgres_server: PostgresServer,
    redis_server: RedisServer,
    rabbit_server: RabbitServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    servers = Servers(postgres_server, redis_server, rabbit_server)
    deployment = DistributedDeployment(tmp_path_factory.mktemp("mtls"), servers)
    named = {
        "service_tls_certificate": str(pki.service.certificate),
        "service_tls_key": str(pki.service.key),
        "service_tls_authority": str(pki.service.authority),
    }
    async with deployment.running(programs=None, **named) as product, api_client(product.url) as client:
        assert isinstance(product, RunningCluster)
        user = await client.register("ann@example.test")
        assert (await user.call("GET", "/api/v1/quota")).status == 200
        assert (await user.call("GET", "/api/v1/auth/sessions")).status == 200
        parser = f"127.0.0.1:{product.cluster.roles['parser'].environment['VASSET_SERVICE_PORT']}"
        token = product.cluster.roles["parser"].environment["VASSET_SERVICE_TOKEN"]
        channel = open_channel(parser, idempotent=[])
        with pytest.raises(DependencyDown):  # the right token over a plain connection
            await parser_client.ParserClient(channel, token, timeout_seconds=3).parse(SOMEBODY, "https://a.example/")
        await channel.close()
        assert await product.stop() == 0
