"""deploy/compose.yaml: the five services and three servers of REQUIREMENTS J1, in the shape the Compose specification asks for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from vasset.bootstrap.local_servers import CONSUMER_TIMEOUT_MILLISECONDS
from vasset.config import Settings

ROLES = {"gateway": 8080, "auth": 9101, "parser": 9102, "downloader": 9103, "asset": 9104}
SERVERS = {"postgres", "redis", "rabbitmq"}
MONITORING = {"prometheus", "alertmanager"}


class Strict(BaseModel):
    """The part of the Compose specification that is used here; a misspelt key is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Build(Strict):
    context: str
    dockerfile: str


class Healthcheck(Strict):
    test: list[str]
    interval: Annotated[str, Field(pattern=r"^\d+s$")]
    timeout: Annotated[str, Field(pattern=r"^\d+s$")]
    retries: int


class Dependency(Strict):
    condition: Literal["service_started", "service_healthy", "service_completed_successfully"]


class Logging(Strict):
    driver: str
    options: dict[str, str]


class Service(Strict):
    image: Annotated[str, Field(pattern=r"^(\$\{VASSET_IMAGE:-vasset:built\}|[a-z0-9/]+:[a-z0-9.-]*\d[a-z0-9.-]*)$")]
    build: Build | None = None
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    environment: dict[str, str] = {}
    env_file: list[str] = []
    hostname: str | None = None
    restart: Literal["unless-stopped", "always", "on-failure", "no"] | None = None
    read_only: bool = False
    tmpfs: list[str] = []
    cap_drop: list[str] = []
    security_opt: list[str] = []
    stop_grace_period: Annotated[str, Field(pattern=r"^\d+s$")] | None = None
    shm_size: str | None = None
    networks: list[str] = []
    ports: list[str] = []
    volumes: list[str] = []
    profiles: list[str] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: Healthcheck | None = None
    logging: Logging | None = None


class Network(Strict):
    internal: bool = False


class Compose(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)  # x-* fragments
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, None]


@pytest.fixture(scope="module")
def compose(deploy: Path) -> Compose:
    return Compose.model_validate(yaml.safe_load((deploy / "compose.yaml").read_text()))


def test_it_is_five_services_and_three_servers(compose: Compose) -> None:
    assert set(compose.services) == set(ROLES) | SERVERS | MONITORING
    for name in MONITORING:
        assert compose.services[name].profiles == ["monitoring"]
    assert set(compose.model_extra or {}) == {"x-service", "x-needs-servers"}


def test_whatever_is_named_exists(compose: Compose, deploy: Path) -> None:
    for name, service in compose.services.items():
        assert set(service.networks) <= set(compose.networks), name
        assert set(service.depends_on) <= set(compose.services), name
        for volume in service.volumes:
            source = volume.split(":", 1)[0]
            assert (deploy / source).exists() if source.startswith(".") else source in compose.volumes, volume
        if service.build:
            assert (deploy / service.build.context / service.build.dockerfile).is_file()


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_confined_and_asked_how_it_is(compose: Compose, role: str) -> None:
    service = compose.services[role]
    assert service.command == [role, "--config", "/etc/vasset/environments/staging.yaml"]
    assert service.read_only
    assert service.cap_drop == ["ALL"]
    assert service.security_opt == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service.tmpfs)
    assert service.environment["VASSET_HEALTH_PORT"] == str(ROLES[role])
    assert {"postgres", "redis", "rabbitmq"} <= set(service.depends_on)


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_each_server_has_a_health_check_and_keeps_to_the_inside(compose: Compose, server: str) -> None:
    service = compose.services[server]
    assert service.healthcheck is not None
    assert "inside" in service.networks
    if server != "rabbitmq":
        assert service.networks == ["inside"]
        assert not service.ports


def test_the_management_of_the_broker_is_for_this_host_alone(compose: Compose, deploy: Path) -> None:
    broker = compose.services["rabbitmq"]
    assert broker.image.endswith("-management")
    assert broker.ports == ["127.0.0.1:15672:15672"]
    assert "outside" in broker.networks, "an internal network publishes no port"


def test_the_broker_lets_a_worker_hold_a_wake_up_longer_than_its_longest_recording(
    compose: Compose, deploy: Path
) -> None:
    assert "./rabbitmq/vasset.conf:/etc/rabbitmq/conf.d/20-vasset.conf:ro" in compose.services["rabbitmq"].volumes
    [written] = re.findall(
        r"^consumer_timeout = (\d+)$", (deploy / "rabbitmq" / "vasset.conf").read_text(), re.MULTILINE
    )
    settings = Settings()
    assert int(written) / 1000 > settings.live_max_seconds + settings.task_timeout_seconds
    assert int(written) == CONSUMER_TIMEOUT_MILLISECONDS
    assert f"consumer_timeout = {written}\n" in (deploy / "kubernetes" / "stateful" / "rabbitmq.yaml").read_text()


def test_only_roles_that_fetch_or_serve_reach_outside(compose: Compose) -> None:
    assert compose.networks["inside"].internal
    outside = {name for name, service in compose.services.items() if "outside" in service.networks}
    assert outside == {"gateway", "parser", "downloader", "rabbitmq"} | MONITORING


def test_nothing_listens_for_the_world_unless_it_is_asked_to(compose: Compose) -> None:
    for service in compose.services.values():
        for port in service.ports:
            assert port.startswith(("127.0.0.1:", "${VASSET_BIND:-127.0.0.1}:")), port


def test_the_example_names_every_secret_and_holds_none(deploy: Path, compose: Compose) -> None:
    example = (deploy / "compose.env.example").read_text()
    values = dict(re.findall(r"^([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert {name for name, value in values.items() if not value} == {
        "VASSET_SECRET_KEY", "VASSET_SERVICE_TOKEN", "POSTGRES_PASSWORD", "RABBITMQ_DEFAULT_PASS", "REDIS_PASSWORD",
    }  # fmt: skip
    for name in ("VASSET_DATABASE_URL", "VASSET_QUEUE_URL", "VASSET_CACHE_URL"):
        assert any(placeholder in values[name] for placeholder in values if placeholder != name)
    used = set(re.findall(r"\$\$([A-Z_]+)", (deploy / "compose.yaml").read_text()))
    assert used <= set(values)
