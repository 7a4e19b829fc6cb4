"""Every knob: type, default, meaning. The only place that reads the environment (``VASSET_*``).

Order of precedence: command line, environment, ``--config`` YAML file, secret files in ``VASSET_SECRETS_DIR``, defaults here.
``docs/configuration.md`` is generated from this file by ``make generated``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

# Of the deployment files and of `vasset fetch`, of tests, and what scripts around the product call where it is.
OTHER_NAMES = frozenset(
    f"VASSET_{name}" for name in ("SECRETS_DIR", "PROXY", "FAIL_DISK", "HEALTH_PORT", "IMAGE", "BIND", "BIN", "TREE")
)
# Kubernetes tells every pod of every service: VASSET_GATEWAY_SERVICE_HOST, VASSET_AUTH_PORT_9001_TCP_ADDR and so on.
SERVICE_LINK = re.compile(r"VASSET_([A-Z0-9_]+_)?(SERVICE_(HOST|PORT[A-Z0-9_]*)|PORT(_[0-9]+_(TCP|UDP)[A-Z_]*)?)\Z")


class UnknownSetting(ValueError):
    """A ``VASSET_*`` name that no setting has: a misspelt one would silently be the default."""


HostList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """What an operator may set. Adapters are chosen by URL."""

    model_config = SettingsConfigDict(
        env_prefix="VASSET_", extra="forbid", secrets_dir=os.environ.get("VASSET_SECRETS_DIR"), frozen=True
    )

    # --- where things are ---
    data_dir: Path = Field(Path("data"), description="Root of all files: `tmp/`, `archive/` and the SQLite database.")
    host: str = Field("127.0.0.1", description="Address the HTTP server binds.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the HTTP server; 0 takes a free one.")
    database_url: SecretStr | None = Field(
        None,
        description="`sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`; default: `vasset.db` in the data folder.",
    )
    queue_url: SecretStr = Field(SecretStr("memory:"), description="`memory:` or `amqp://user:password@host/vhost`.")
    cache_url: SecretStr = Field(
        SecretStr("memory:"),
        description="`memory:`, `redis://…`, `redis+sentinel://host:port,host:port/service` or `redis+cluster://…`.",
    )
    environment: Literal["local", "test", "staging", "production"] = Field(
        "local", description="Profile; `production` refuses weak settings (no TLS to the database, missing secrets)."
    )

    kill_at: str | None = Field(
        None,
        pattern=r"^K([1-9]|1[0-6])(:[1-9][0-9]{0,8})?$",
        description="For tests only: the process kills itself at this place (`docs/fault-campaign.md`); `production` refuses it.",
    )

    # --- logging ---
    log_format: Literal["console", "json"] = Field("console", description="Human lines or one JSON object a line.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe level printed.")

    # --- accounts ---
    secret_key: SecretStr | None = Field(
        None, description="≥ 32 bytes that sign access tokens; default: made once and kept in the data folder (0600)."
    )
    registration: Literal["open", "invite", "closed"] = Field(
        "open", description="Who may register. The first account is always allowed and becomes administrator."
    )
    access_token_seconds: int = Field(86_400, ge=60, description="Life of an access token (PRD: 24 h).")
    refresh_token_seconds: int = Field(604_800, ge=300, description="Life of a refresh token (PRD: 7 d).")
    refresh_grace_seconds: float = Field(
        10.0,
        ge=0,
        description="A refresh token repeated within this time answers the same child; later it ends the family.",
    )
    revocation_seconds: float = Field(5.0, gt=0, le=60, description="Longest time a revoked session is still believed.")
    bcrypt_cost: int = Field(10, ge=4, le=15, description="bcrypt work factor (PRD: 10).")
    password_hash_workers: int = Field(1, ge=1, description="Threads that hash passwords.")
    password_hash_queue: int = Field(8, ge=1, description="Hashes that may wait; more answer 429.")
    login_attempts_per_minute: int = Field(10, ge=1, description="Failed sign-ins a minute per account and address.")

    # --- quotas and limits ---
    daily_limit_free: int = Field(50, ge=0, description="Downloads a day for ordinary accounts.")
    daily_limit_premium: int = Field(500, ge=0, description="Downloads a day for premium accounts.")
    daily_limit_admin: int = Field(10_000, ge=0, description="Downloads a day for administrators.")
    max_unfinished_tasks_per_user: int = Field(
        1_000, ge=1, description="Queued and running downloads one user may have."
    )
    refund_cancelled: bool = Field(
        True, description="A download cancelled before it completed gives its quota unit back."
    )
    requests_per_minute: int = Field(6_000, ge=1, description="API requests a minute per user or address.")
    parses_per_minute: int = Field(120, ge=1, description="Parses a minute per user.")
    trusted_proxies: HostList = Field((), description="Networks whose X-Forwarded-For is believed.")
    allowed_hosts: HostList = Field((), description="Host names the gateway answers to; empty: any.")
    allowed_origins: HostList = Field(
        (), description="Origins besides its own that may open a WebSocket or call the API."
    )
    accel_redirect_prefix: str | None = Field(
        None, description="nginx internal location; then files are sent by `X-Accel-Redirect`."
    )

    # --- services (distributed) ---
    auth_address: str = Field("127.0.0.1:9001", description="Where the auth service listens, or any gRPC name.")
    parser_address: str = Field("127.0.0.1:9002", description="Where the parser service listens.")
    downloader_address: str = Field(
        "127.0.0.1:9003",
        description="Where downloaders listen, for operators: a list by commas, or a DNS name of several.",
    )
    asset_address: str = Field("127.0.0.1:9004", description="Where the asset service listens.")
    service_host: str = Field("127.0.0.1", description="Address the gRPC servers bind.")
    service_port: int | None = Field(
        None, ge=0, le=65535, description="Port of the gRPC server; default by role (9001-9004)."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of `/metrics`, `/healthz` and `/readyz` of a gRPC role; default: its port + 100.",
    )
    service_token: SecretStr | None = Field(
        None, description="≥ 32 bytes every service shows the others; required outside `vasset serve`."
    )
    service_tls_certificate: Path | None = Field(None, description="PEM certificate of this service: turns mTLS on.")
    service_tls_key: Path | None = Field(None, description="PEM key of this service.")
    service_tls_authority: Path | None = Field(
        None, description="PEM authority that signed every service's certificate."
    )
    grpc_timeout_seconds: float = Field(5.0, gt=0, description="Deadline of a call between services (PRD: 5 s).")
    parse_timeout_seconds: float = Field(
        60.0, gt=0, description="Deadline of a parse, which takes as long as the site takes."
    )
    database_pool: int = Field(20, ge=1, le=100, description="Database connections of one process (E1: at most 100).")
    worker_name: str | None = Field(None, description="Name of this worker in leases; default: host name and process.")
    worker_address: str | None = Field(
        None, description="host:port others reach this downloader at: set it where files are on the worker's own disk."
    )

    # --- exits ---
    exits_file: Path | None = Field(
        None, description="YAML file of third-party exits (docs/exits.md); default: go directly."
    )

    # --- egress ---
    egress_allow: HostList = Field(
        (),
        description="Hosts, networks or host:port that may be reached although they are not public (comma-separated).",
    )
    ca_file: Path | None = Field(None, description="PEM file trusted besides the system's roots.")

    # --- extraction ---
    extraction_children: int = Field(2, ge=1, description="Warm yt-dlp children.")
    extraction_timeout_seconds: float = Field(60.0, gt=0, description="Longest time one page may take to read.")
    extraction_memory_mib: int = Field(1_024, ge=128, description="Address space of a child beyond its start.")
    extraction_recycle_after: int = Field(200, ge=1, description="Jobs after which a child is replaced.")
    postprocess_timeout_seconds: float = Field(
        1_800.0, gt=0, description="Longest time merging and conversion may take."
    )
    extractor_plugins: Path | None = Field(
        None, description="Folder with a `yt_dlp_plugins` package the children load."
    )
    ytdlp_channel_dir: Path | None = Field(
        None, description="Folder of the yt-dlp update lane; default `ytdlp/` in the data folder."
    )
    parse_cache_seconds: int = Field(3_600, ge=0, description="Life of a parse result (PRD: 1 h).")

    # --- worker ---
    worker_slots: int = Field(50, ge=1, description="Downloads one worker runs at a time.")
    extraction_slots: int = Field(2, ge=1, description="Extractions one worker runs at a time.")
    postprocess_slots: int = Field(2, ge=1, description="Merges and conversions one worker runs at a time.")
    tasks_per_user: int = Field(50, ge=1, description="Downloads of one user that run at a time on one worker.")
    tasks_per_site: int = Field(50, ge=1, description="Downloads from one site that run at a time on one worker.")
    lease_seconds: float = Field(60.0, gt=0, description="Life of a worker's lease without a heartbeat.")
    heartbeat_seconds: float = Field(5.0, gt=0, description="Time between heartbeats; cancel reaches a task by it.")
    task_timeout_seconds: float = Field(
        1_800.0, gt=0, description="Longest time one attempt may go without a new byte or another step (PRD: 30 min)."
    )
    task_turn_seconds: float = Field(
        21_600.0,
        gt=0,
        description="Longest time one attempt may take although it gets on; the next one goes on with its bytes and nothing is counted.",
    )
    live_recordings: int = Field(4, ge=1, description="Live streams one process records at a time.")
    live_max_seconds: float = Field(
        14_400.0, gt=0, description="Longest recording of a live stream; what there is by then becomes the file."
    )
    max_file_bytes: int = Field(64 * 2**30, ge=1, description="Largest download of one task.")
    max_retries: int = Field(3, ge=0, description="Automatic retries after the first attempt (PRD: 3).")
    drain_seconds: float = Field(20.0, ge=0, description="Time running downloads get to checkpoint after SIGTERM.")
    leave_seconds: float = Field(
        0.0,
        ge=0,
        description="Time a gateway serves on after SIGTERM while `/readyz` says 503, for balancers to notice.",
    )
    progress_hz: float = Field(4.0, gt=0, le=10, description="Progress frames a second per task at most.")
    rate_limit: int | None = Field(None, description="Bytes a second of all downloads of one process; default: none.")
    max_connections: int = Field(256, ge=1, description="Connections of one engine.")
    max_connections_per_host: int = Field(16, ge=1, description="Connections of one engine to one host.")
    hash_algorithm: Literal["blake3", "sha256", "xxh3"] = Field("blake3", description="Hash recorded for every file.")

    # --- what is kept ---
    keep_idempotency_keys_seconds: int = Field(86_400, ge=60, description="Life of an `Idempotency-Key` (24 h).")
    keep_deleted_days: float = Field(
        30.0,
        ge=0,
        description="Title and URL of a download that its user deleted are kept for so long, for you to look into abuse.",
    )
    keep_ended_sessions_days: float = Field(30.0, ge=0, description="Sessions that ended are kept for so long.")
    keep_ledger_days: float = Field(90.0, ge=2, description="Entries of the quota's ledger are kept for so long.")

    # --- disk ---
    quick_ttl_seconds: int = Field(86_400, ge=1, description="Life of a quick download's file (PRD: 24 h).")
    janitor_interval_seconds: float = Field(60.0, gt=0, description="Time between two rounds of cleaning.")
    disk_alert_percent: float = Field(
        85.0, gt=0, le=100, description="Usage that is reported and stops new starts (F2)."
    )
    disk_clean_percent: float = Field(
        90.0, gt=0, le=100, description="Usage that forces cleaning of expired files (F2)."
    )
    disk_target_percent: float = Field(80.0, gt=0, le=100, description="Usage at which forced cleaning stops.")
    disk_plenty_bytes: int = Field(
        100 * 2**30,
        ge=0,
        description="With this much free the percentages above do not count: 85 % of 10 TB leaves 1.5 TB.",
    )
    disk_floor_bytes: int = Field(
        2**30,
        ge=0,
        description="Bytes of the disk that stay free whatever is downloaded; at most a twentieth of it.",
    )
    disk_emergency_bytes: int = Field(
        64 * 2**20,
        ge=0,
        description="A file that is given up when everything else failed to keep the disk usable; at most a fiftieth of it, 0 is none.",
    )
    min_available_memory_mib: int = Field(256, ge=0, description="New downloads wait while less memory is available.")
    max_load_per_core: float = Field(
        16.0, gt=0, description="New downloads wait while the load is above this per core."
    )

    @field_validator("egress_allow", "trusted_proxies", "allowed_hosts", "allowed_origins", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("secret_key")
    @classmethod
    def _refuse_short_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("VASSET_SECRET_KEY is shorter than 32 bytes; make one with `openssl rand -hex 32`")
        return value

    @field_validator("database_url")
    @classmethod
    def _refuse_unknown_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(
            ("sqlite+aiosqlite://", "postgresql+asyncpg://")
        ):
            raise ValueError("begins neither with sqlite+aiosqlite:/// nor with postgresql+asyncpg://")
        return value

    @field_validator("queue_url")
    @classmethod
    def _refuse_unknown_queue(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("memory:", "amqp://", "amqps://")):
            raise ValueError("is neither memory: nor an amqp:// or amqps:// address")
        return value

    @field_validator("cache_url")
    @classmethod
    def _refuse_unknown_cache(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(
            ("memory:", "redis://", "rediss://", "redis+", "rediss+", "unix://")
        ):
            raise ValueError(
                "is neither memory: nor a redis://, rediss://, redis+sentinel:// or redis+cluster:// address"
            )
        return value

    @field_validator("service_token")
    @classmethod
    def _refuse_short_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < 32:
            raise ValueError("VASSET_SERVICE_TOKEN is shorter than 32 bytes; make one with `openssl rand -hex 32`")
        return value

    @model_validator(mode="after")
    def _refuse_weak_production(self) -> Settings:
        """Say all that is missing at once: an operator should not find it out start by start."""
        if self.environment == "production":
            missing = list(self._weaknesses())
            if missing:
                raise ValueError("environment `production` refuses to start: " + "; ".join(missing))
        return self

    def _weaknesses(self) -> Iterator[str]:
        if self.secret_key is None:
            yield "set VASSET_SECRET_KEY (`openssl rand -hex 32`)"
        if self.kill_at is not None:
            yield "unset VASSET_KILL_AT, which is for tests"
        distributed = self.queue_url.get_secret_value() != "memory:"
        if distributed and self.service_token is None:
            yield "set VASSET_SERVICE_TOKEN (`openssl rand -hex 32`)"
        url = self.resolved_database_url
        if not url.startswith("sqlite") and not re.search(r"[?&]sslmode=verify-(ca|full)(&|$)", url):
            yield "add sslmode=verify-full to VASSET_DATABASE_URL"

    @property
    def resolved_database_url(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir.resolve() / 'vasset.db'}"


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read settings once, at start. ``overrides`` that are None are left to the other sources.

    Raises ``UnknownSetting`` and pydantic's ``ValidationError``.
    """
    _refuse_unknown_names(os.environ)

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
            if config is not None:
                sources += (YamlConfigSettingsSource(settings_cls, yaml_file=config),)
            return (*sources, file_secret_settings)

    return FromFile(**{name: value for name, value in overrides.items() if value is not None})


def _refuse_unknown_names(environment: Mapping[str, str]) -> None:
    known = {f"VASSET_{name.upper()}" for name in Settings.model_fields} | OTHER_NAMES
    for name in sorted(environment):
        if name.upper().startswith("VASSET_") and name.upper() not in known and not SERVICE_LINK.match(name.upper()):
            near = get_close_matches(name.upper(), known, n=1, cutoff=0.85)
            hint = f"; did you mean {near[0]}?" if near else "; docs/configuration.md lists them"
            raise UnknownSetting(f"{name} is no setting{hint}")
