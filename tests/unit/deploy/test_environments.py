"""The environments of REQUIREMENTS J4 are files the program itself understands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from tests.support.kustomize import build
from vasset.config import Settings, load_settings

ENVIRONMENTS = ("local", "test", "staging", "production")
SECRETS = {
    "VASSET_SECRET_KEY": "k" * 64,
    "VASSET_SERVICE_TOKEN": "t" * 64,
    "VASSET_DATABASE_URL": "postgresql+asyncpg://vasset:word@db/vasset?sslmode=verify-full",
    "VASSET_QUEUE_URL": "amqps://vasset:word@mq/vasset",
    "VASSET_CACHE_URL": "rediss://:word@cache:6380/0",
}
DISTRIBUTED = ("test", "staging", "production")


@pytest.fixture(autouse=True)
def without_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("VASSET_")]:
        monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_is_accepted_by_the_settings(deploy: Path, environment: str) -> None:
    assert load_settings(deploy / "environments" / f"{environment}.yaml").environment == environment


def test_there_are_exactly_these_four(deploy: Path) -> None:
    assert {path.stem for path in (deploy / "environments").iterdir()} == set(ENVIRONMENTS)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_environment_file_holds_a_secret(deploy: Path, environment: str) -> None:
    named = set(yaml.safe_load((deploy / "environments" / f"{environment}.yaml").read_text()))
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret >= {"secret_key", "service_token", "database_url"}
    assert not named & secret


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("VASSET_SECRET_KEY", None, "set VASSET_SECRET_KEY"),
        ("VASSET_SERVICE_TOKEN", None, "set VASSET_SERVICE_TOKEN"),
        ("VASSET_DATABASE_URL", "postgresql+asyncpg://vasset:word@db/vasset", "sslmode=verify-full"),
        ("VASSET_DATABASE_URL", "postgresql+asyncpg://vasset:word@db/vasset?sslmode=require", "sslmode=verify-full"),
    ],
)
def test_production_refuses_to_start_weak(
    deploy: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, words: str
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as refusal:
        load_settings(deploy / "environments" / "production.yaml")
    told = refusal.value.errors(include_input=False)[0]["msg"]
    assert words in told
    assert "word@" not in told


@pytest.mark.parametrize("environment", DISTRIBUTED)
def test_servers_listen_for_others_and_log_for_machines(deploy: Path, environment: str) -> None:
    settings = load_settings(deploy / "environments" / f"{environment}.yaml")
    assert (settings.host, settings.service_host, settings.log_format) == ("0.0.0.0", "0.0.0.0", "json")
    assert settings.auth_address == "dns:///auth:9001"
    assert settings.asset_address == "dns:///asset:9004"


def test_the_local_one_listens_on_this_machine_only(deploy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name)
    settings = load_settings(deploy / "environments" / "local.yaml")
    assert settings.host == "127.0.0.1"
    assert settings.resolved_database_url.startswith("sqlite")


def test_a_variable_overrides_the_file(deploy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VASSET_WORKER_SLOTS", "7")
    assert load_settings(deploy / "environments" / "production.yaml").worker_slots == 7


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("worker_slotz: 7\n")
    with pytest.raises(ValidationError, match="worker_slotz"):
        load_settings(config)


@pytest.mark.parametrize(
    ("environment", "host"),
    [("test", "test.vasset.internal"), ("staging", "staging.vasset.com"), ("production", "api.vasset.com")],
)
def test_each_environment_answers_to_its_name_of_the_prd(deploy: Path, environment: str, host: str) -> None:
    settings = load_settings(deploy / "environments" / f"{environment}.yaml")
    assert settings.allowed_hosts[0] == host
    [ingress] = [one for one in build(deploy / "kubernetes" / "overlays" / environment) if one["kind"] == "Ingress"]
    assert ingress["spec"]["rules"][0]["host"] == host
    assert ingress["spec"]["tls"][0]["hosts"] == [host]


def test_one_host_with_compose_answers_to_itself(deploy: Path) -> None:
    assert {"localhost", "127.0.0.1"} <= set(load_settings(deploy / "environments" / "staging.yaml").allowed_hosts)
