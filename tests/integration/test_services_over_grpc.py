"""The services over real gRPC: same signature, same answers, same errors as the local objects."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.clock import FakeClock
from tests.support.cutting_proxy import cutting_proxy
from vasset.adapters.cache.memory import MemoryCache
from vasset.adapters.db.accounts import SqlAccounts
from vasset.adapters.db.database import open_database
from vasset.adapters.db.library import SqlLibrary
from vasset.adapters.db.migrate import migrate
from vasset.bootstrap.local_servers import free_port
from vasset.domain import errors
from vasset.domain.media import Format, MediaInfo, PlaylistEntry, QualityChoice
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Identity, Role
from vasset.services import errors as service_errors
from vasset.services.asset import client as asset_client
from vasset.services.asset.service import LibraryService
from vasset.services.asset.servicer import AssetServicer
from vasset.services.auth import client as auth_client
from vasset.services.auth.gateway_authority import GatewayAuthority
from vasset.services.auth.passwords import PasswordHasher
from vasset.services.auth.service import AuthService
from vasset.services.auth.servicer import AuthServicer
from vasset.services.auth.session_cache import SessionCache
from vasset.services.auth.tokens import TokenSigner
from vasset.services.client import open_channel
from vasset.services.parser import client as parser_client
from vasset.services.parser import convert as parser_convert
from vasset.services.parser.servicer import ParserServicer
from vasset.services.proto import asset_pb2, asset_pb2_grpc, auth_pb2, auth_pb2_grpc, parser_pb2, parser_pb2_grpc
from vasset.services.server import ServiceServer
from vasset.usecases.breaker import CircuitBreaker

TOKEN = "t" * 32
PASSWORD = "correct horse 1"

MEDIA = MediaInfo(
    url="https://example.com/v",
    kind="playlist",
    id="x",
    title="Titel 标题 💣",
    site="example",
    duration_seconds=0.0,
    formats=[Format(id="137", ext="mp4", protocol="https", height=0, size_bytes=None)],
    qualities=[QualityChoice("1080p", "1080p", None)],
    entries=[PlaylistEntry("https://example.com/1", None, 12.5)],
    entry_count=5_000,
)


class SlowParser:
    """Answers ``MEDIA``, or raises what the URL names, or waits until it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.request_ids: list[object] = []

    async def parse(self, identity: Identity, url: str, *, playlist_page: int = 1) -> MediaInfo:
        self.request_ids.append(structlog.contextvars.get_contextvars().get("request_id"))
        if url == "hang":
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if url == "defect":
            raise RuntimeError("canary-secret in a defect")
        if url == "drm":
            raise errors.ExtractionFailed("this video is protected", kind="drm")
        if url == "open":
            raise errors.BreakerOpen("left alone", retry_after_seconds=17.5)
        return MEDIA


@dataclass
class Cluster:
    auth: AuthService
    remote_auth: auth_client.AuthClient
    gateway: GatewayAuthority
    accounts: SqlAccounts
    signer: TokenSigner
    assets: asset_client.AssetClient
    parser: parser_client.ParserClient
    slow: SlowParser
    server: ServiceServer
    address: str
    channel: grpc.aio.Channel
    clock: FakeClock


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[Cluster]:
    clock = FakeClock()
    database = open_database(f"sqlite+aiosqlite:///{folder / 'vasset.db'}", clock=clock)
    await migrate(database)
    hasher = PasswordHasher(cost=4)
    signer = TokenSigner(b"k" * 32, clock=clock)
    accounts = SqlAccounts(database)
    auth = AuthService(accounts, MemoryCache(clock=clock), hasher, signer, clock)
    slow = SlowParser()
    server = ServiceServer(TOKEN)
    server.add(
        auth_pb2_grpc.add_AuthServiceServicer_to_server,
        AuthServicer(auth),
        auth_pb2.DESCRIPTOR.services_by_name["AuthService"],
    )
    server.add(
        asset_pb2_grpc.add_AssetServiceServicer_to_server,
        AssetServicer(LibraryService(SqlLibrary(database, QuotaPolicy({Role.FREE: 3})))),
        asset_pb2.DESCRIPTOR.services_by_name["AssetService"],
    )
    server.add(
        parser_pb2_grpc.add_ParserServiceServicer_to_server,
        ParserServicer(slow),
        parser_pb2.DESCRIPTOR.services_by_name["ParserService"],
    )
    port = await server.start("127.0.0.1", 0)
    await server.set_ready(True)
    address = f"127.0.0.1:{port}"
    channel = open_channel(
        address, idempotent=[*auth_client.IDEMPOTENT, *asset_client.IDEMPOTENT, *parser_client.IDEMPOTENT]
    )
    try:
        yield Cluster(
            auth=auth,
            remote_auth=auth_client.AuthClient(channel, TOKEN),
            gateway=GatewayAuthority(
                channel,
                TOKEN,
                signer,
                SessionCache(accounts, clock, max_age_seconds=5.0),
                clock,
                revocation_seconds=5.0,
                timeout_seconds=2.0,
            ),
            accounts=accounts,
            signer=signer,
            assets=asset_client.AssetClient(channel, TOKEN),
            parser=parser_client.ParserClient(channel, TOKEN),
            slow=slow,
            server=server,
            address=address,
            channel=channel,
            clock=clock,
        )
    finally:
        await channel.close()
        await server.stop(0)
        hasher.close()
        await database.close()


async def test_an_account_lives_its_whole_life_over_grpc(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        user, tokens = await run.remote_auth.register("a@example.com", PASSWORD, "Ana 安", user_agent="test")
        assert user.role is Role.ADMIN
        identity = await run.remote_auth.verify(tokens.access_token)
        assert identity == await run.auth.verify(tokens.access_token)
        assert await run.remote_auth.profile(identity) == user
        (session,) = await run.remote_auth.sessions(identity)
        assert session.current
        assert session.user_agent == "test"
        rotated = await run.remote_auth.refresh(tokens.refresh_token)
        assert rotated.refresh_token != tokens.refresh_token
        await run.remote_auth.logout(identity)
        with pytest.raises(errors.TokenRevoked):
            await run.remote_auth.verify(rotated.access_token)


async def test_errors_arrive_as_the_class_that_was_raised(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        _, tokens = await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        identity = await run.remote_auth.verify(tokens.access_token)
        with pytest.raises(errors.EmailTaken):
            await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        with pytest.raises(errors.InvalidCredentials):
            await run.remote_auth.login("a@example.com", "wrong pass 1")
        with pytest.raises(errors.NotFound):
            await run.assets.entry(identity, 404)
        with pytest.raises(errors.ExtractionFailed) as failed:
            await run.parser.parse(identity, "drm")
        assert failed.value.kind == "drm"
        assert failed.value.message == "this video is protected"
        assert not failed.value.retryable
        with pytest.raises(errors.BreakerOpen) as opened:
            await run.parser.parse(identity, "open")
        assert opened.value.retry_after_seconds == pytest.approx(17.5)


async def test_a_defect_is_reported_without_its_words(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        _, tokens = await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        identity = await run.remote_auth.verify(tokens.access_token)
        with pytest.raises(errors.VAssetError) as caught:
            await run.parser.parse(identity, "defect")
        assert "canary" not in str(caught.value)


async def test_every_domain_error_crosses_the_wire() -> None:
    for reason, found in service_errors.BY_REASON.items():
        assert found.reason == reason
        assert service_errors.status_of(found()) is not grpc.StatusCode.UNKNOWN
    assert len(service_errors.BY_REASON) > 25


async def test_a_caller_without_the_service_token_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        stranger = auth_client.AuthClient(run.channel, "x" * 32)
        with pytest.raises(errors.ServiceTokenRefused, match="service token"):
            await stranger.login("a@example.com", PASSWORD)
        stub = auth_pb2_grpc.AuthServiceStub(run.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Login(auth_pb2.LoginRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_user_call_without_identity_is_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        stub = asset_pb2_grpc.AssetServiceStub(run.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetQuota(asset_pb2.GetQuotaRequest(), metadata=(("vasset-service-token", TOKEN),), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_deadline_cancels_the_work_behind_it(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        impatient = parser_client.ParserClient(run.channel, TOKEN, timeout_seconds=0.3)
        with pytest.raises(errors.DependencyDown):
            await impatient.parse(Identity(1, Role.FREE, 1), "hang")
        await asyncio.wait_for(run.slow.cancelled.wait(), 5)


async def test_the_request_id_travels(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        with structlog.contextvars.bound_contextvars(request_id="req-77"):
            await run.parser.parse(Identity(1, Role.FREE, 1), "x")
        assert run.slow.request_ids == ["req-77"]


async def test_a_dead_service_is_said_to_be_down(tmp_path: Path) -> None:
    channel = open_channel(f"127.0.0.1:{free_port()}", idempotent=parser_client.IDEMPOTENT)
    try:
        with pytest.raises(errors.DependencyDown, match="parser service does not answer") as caught:
            await parser_client.ParserClient(channel, TOKEN, timeout_seconds=2).parse(Identity(1, Role.FREE, 1), "x")
        assert caught.value.retryable
    finally:
        await channel.close()


async def test_oversized_and_malformed_messages_are_refused(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        with pytest.raises(errors.InvalidInput, match="too large"):
            await run.parser.parse(Identity(1, Role.FREE, 1), "x" * (5 * 2**20))
        raw: Any = run.channel.unary_unary("/vasset.v1.ParserService/ParseURL")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(b"\x0a\x02\xff\xfe", metadata=(("vasset-service-token", TOKEN),), timeout=5)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_gateway_believes_a_revoked_session_for_five_seconds_at_most(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        _, tokens = await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        identity = await run.gateway.verify(tokens.access_token)
        await run.auth.logout(identity)  # by another gateway
        assert await run.gateway.verify(tokens.access_token) == identity
        run.clock.advance(5.0)
        with pytest.raises(errors.TokenRevoked):
            await run.gateway.verify(tokens.access_token)


async def test_people_stay_signed_in_while_the_auth_service_is_down(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        _, tokens = await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        await run.server.stop(0)
        identity = await run.gateway.verify(tokens.access_token)
        assert identity.role is Role.ADMIN
        with pytest.raises(errors.DependencyDown):
            await run.gateway.login("a@example.com", PASSWORD)
        await run.auth.logout(identity)
        run.clock.advance(5.0)
        with pytest.raises(errors.TokenRevoked):
            await run.gateway.verify(tokens.access_token)


async def test_a_frozen_auth_service_delays_one_request_and_is_asked_again_once_it_answers(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run, cutting_proxy(int(run.address.rpartition(":")[2])) as proxy:
        channel = open_channel(f"127.0.0.1:{proxy.port}", idempotent=auth_client.IDEMPOTENT)
        rows = SessionCache(run.accounts, run.clock, max_age_seconds=5.0)
        gateway = GatewayAuthority(channel, TOKEN, run.signer, rows, run.clock, revocation_seconds=5.0)
        _, tokens = await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        identity = await gateway.verify(tokens.access_token)
        loop = asyncio.get_running_loop()
        try:
            proxy.black_hole()
            slow = 0
            for _ in range(40):
                run.clock.advance(5.0)  # nothing that is known counts any more
                started = loop.time()
                assert await gateway.verify(tokens.access_token) == identity
                slow += loop.time() - started > 0.9  # the timeout is 1 s
                await asyncio.sleep(0.05)
            assert slow == 1
            await run.auth.logout(identity)
            run.clock.advance(5.0)
            with pytest.raises(errors.TokenRevoked):
                await gateway.verify(tokens.access_token)
            proxy.heal()
            async with asyncio.timeout(20):
                while gateway._absence.is_on:
                    await asyncio.sleep(0.05)
        finally:
            await gateway.close()
            await channel.close()


async def test_a_service_that_only_lets_deadlines_pass_is_left_alone_and_probed_again(tmp_path: Path) -> None:
    """More than half of more than twenty calls, for thirty seconds, then probes (REQUIREMENTS G)."""
    async with cluster(tmp_path) as run, cutting_proxy(int(run.address.rpartition(":")[2])) as proxy:
        channel = open_channel(f"127.0.0.1:{proxy.port}", idempotent=asset_client.IDEMPOTENT)
        breaker = CircuitBreaker(run.clock)
        assets = asset_client.AssetClient(channel, TOKEN, timeout_seconds=0.05, breaker=breaker)
        patient = asset_client.AssetClient(channel, TOKEN, breaker=breaker)
        me = Identity(1, Role.FREE, 1)
        try:
            await patient.quota(me)
            proxy.black_hole()
            for _ in range(20):
                with pytest.raises(errors.DependencyDown, match="does not answer; try"):
                    await assets.quota(me)
            with pytest.raises(errors.DependencyDown, match="left alone") as caught:
                await patient.quota(me)  # at once: its own deadline would be 5 s
            assert 0 < (caught.value.retry_after_seconds or 0) <= 30
            assert breaker.states() == {"asset": "open"}
            proxy.heal()
            run.clock.advance(30)
            async with asyncio.timeout(20):
                while breaker.states() != {"asset": "closed"}:
                    with contextlib.suppress(errors.DependencyDown):
                        await patient.quota(me)
                    run.clock.advance(1)
                    await asyncio.sleep(0.01)
        finally:
            await channel.close()


async def test_a_refused_connection_or_request_does_not_open_the_breaker(tmp_path: Path) -> None:
    """It costs nobody any time; a restart of two seconds must not become an outage of thirty."""
    clock = FakeClock()
    breaker = CircuitBreaker(clock)
    channel = open_channel(f"127.0.0.1:{free_port()}", idempotent=[])
    try:
        client = asset_client.AssetClient(channel, TOKEN, timeout_seconds=5, breaker=breaker)
        for _ in range(40):
            with pytest.raises(errors.DependencyDown):
                await client.quota(Identity(1, Role.FREE, 1))
        assert breaker.states() in ({}, {"asset": "closed"})
    finally:
        await channel.close()
    async with cluster(tmp_path) as run:
        parser = parser_client.ParserClient(run.channel, TOKEN, breaker=breaker)
        for _ in range(40):
            with pytest.raises(errors.ExtractionFailed):
                await parser.parse(Identity(1, Role.FREE, 1), "drm")
        assert breaker.states()["parser"] == "closed"


async def test_credentials_are_validated_under_the_name_of_the_prd_and_the_former_one(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        await run.remote_auth.register("a@example.com", PASSWORD, "Ana")
        stub: Any = auth_pb2_grpc.AuthServiceStub(run.channel)
        proof = (("vasset-service-token", TOKEN),)
        good = auth_pb2.ValidateCredentialsRequest(email="a@example.com", password=PASSWORD)
        assert (await stub.ValidateCredentials(good, metadata=proof, timeout=5)).user.email == "a@example.com"
        old = auth_pb2.LoginRequest(email="a@example.com", password=PASSWORD)
        assert (await stub.Login(old, metadata=proof, timeout=5)).tokens.access_token
        with pytest.raises(errors.InvalidCredentials):
            await run.remote_auth.login("a@example.com", "wrong horse 7")


async def test_the_gateway_refuses_a_forged_token_by_itself(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        await run.server.stop(0)
        with pytest.raises(errors.Unauthenticated):
            await run.gateway.verify("a" * 20 + "." + "b" * 20 + "." + "c" * 43)


async def test_health_and_reflection_answer_without_a_token(tmp_path: Path) -> None:
    async with cluster(tmp_path) as run:
        health = health_pb2_grpc.HealthStub(run.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="vasset.v1.AuthService"), timeout=5)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(run.channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=5)
        listed = {service.name async for reply in call for service in reply.list_services_response.service}
        assert {"vasset.v1.AuthService", "vasset.v1.AssetService", "vasset.v1.ParserService"} <= listed


def test_media_survives_the_wire_with_its_unknowns() -> None:
    assert parser_convert.media_from_wire(parser_convert.media_to_wire(MEDIA)) == MEDIA
    assert parser_pb2.MediaInfoMessage().HasField("duration_seconds") is False
