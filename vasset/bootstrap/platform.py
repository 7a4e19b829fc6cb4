"""What both deployments build alike from settings: policies, the engine, the children, the services as local objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from vasset.adapters.db.policy import KeepTimes, TaskPolicy
from vasset.adapters.storage.local import LocalStorage
from vasset.bootstrap.measuring import (
    end_counter,
    measuring,
    process_metrics,
    sampling_quota,
    watch_breakers,
    watch_database,
    watch_machine,
)
from vasset.bootstrap.media_tools import MediaTools, open_media_tools
from vasset.config import Settings
from vasset.domain.errors import Unavailable
from vasset.domain.ports import (
    AccountStore,
    Authority,
    Breaker,
    Cache,
    Clock,
    Extractor,
    FileStore,
    Library,
    LibraryStore,
    Parser,
    ProxyPool,
)
from vasset.domain.quota import QuotaPolicy
from vasset.domain.user import Role

__all__ = [
    "end_counter",
    "measuring",
    "open_media_tools",
    "sampling_quota",
    "watch_breakers",
    "watch_database",
    "watch_machine",
]


def quota_policy(settings: Settings) -> QuotaPolicy:
    return QuotaPolicy(
        {
            Role.FREE: settings.daily_limit_free,
            Role.PREMIUM: settings.daily_limit_premium,
            Role.ADMIN: settings.daily_limit_admin,
        }
    )


def task_policy(settings: Settings) -> TaskPolicy:
    return TaskPolicy(
        quota=quota_policy(settings),
        max_unfinished_tasks=settings.max_unfinished_tasks_per_user,
        refund_cancelled=settings.refund_cancelled,
        quick_ttl_seconds=settings.quick_ttl_seconds,
        max_attempts=settings.max_retries + 1,
    )


def keep_times(settings: Settings) -> KeepTimes:
    day = 86_400.0
    return KeepTimes(
        idempotency_keys_seconds=settings.keep_idempotency_keys_seconds,
        spent_tokens_seconds=settings.refresh_token_seconds,
        ended_sessions_seconds=settings.keep_ended_sessions_days * day,
        ledger_seconds=settings.keep_ledger_days * day,
        deleted_seconds=settings.keep_deleted_days * day,
    )


def open_storage(settings: Settings, clock: Clock, *, owner: str | None = None) -> LocalStorage:
    """Make the folders. Raises ``Unavailable`` in words when the data folder cannot be written."""
    try:
        return LocalStorage(
            settings.data_dir,
            clock,
            alert_percent=settings.disk_alert_percent,
            floor_bytes=settings.disk_floor_bytes,
            plenty_bytes=settings.disk_plenty_bytes,
            owner=owner,
        )
    except OSError as error:
        raise Unavailable(
            f"the data folder {settings.data_dir} cannot be used ({error.strerror}); choose another with --data-dir"
        ) from error


def make_folder(settings: Settings) -> None:
    """The data folder of a server that has its database in it. Raises ``Unavailable`` in words."""
    from vasset.bootstrap.private import keep_private

    try:
        keep_private(settings.data_dir, is_shared=settings.accel_redirect_prefix is not None)
    except OSError as error:
        raise Unavailable(
            f"the data folder {settings.data_dir} cannot be used ({error.strerror}); choose another with --data-dir"
        ) from error


def make_room_to_start(settings: Settings, storage: LocalStorage) -> None:
    """On a disk so full that nothing could be written, unfinished files go: only for the one process that owns the folder."""
    import structlog

    from vasset.adapters.storage.emergency import EmergencyReserve
    from vasset.adapters.storage.starting import make_room_to_start as make_room

    if removed := make_room(storage, EmergencyReserve(storage.root, settings.disk_emergency_bytes)):
        structlog.get_logger("vasset.worker").warning("unfinished files were removed from a full disk", folders=removed)


@asynccontextmanager
async def open_authority(
    settings: Settings, accounts: AccountStore, cache: Cache, clock: Clock
) -> AsyncIterator[Authority]:
    from vasset.services.auth.passwords import PasswordHasher
    from vasset.services.auth.secret import signing_secret
    from vasset.services.auth.service import AuthPolicy, AuthService
    from vasset.services.auth.tokens import TokenSigner

    configured = settings.secret_key.get_secret_value() if settings.secret_key is not None else None
    hasher = PasswordHasher(
        cost=settings.bcrypt_cost, workers=settings.password_hash_workers, waiting=settings.password_hash_queue
    )
    try:
        yield AuthService(
            accounts,
            cache,
            hasher,
            TokenSigner(signing_secret(configured, settings.data_dir), clock=clock),
            clock,
            AuthPolicy(
                registration=settings.registration,
                access_token_seconds=settings.access_token_seconds,
                refresh_token_seconds=settings.refresh_token_seconds,
                refresh_grace_seconds=settings.refresh_grace_seconds,
                revocation_seconds=settings.revocation_seconds,
                login_attempts_per_minute=settings.login_attempts_per_minute,
            ),
        )
    finally:
        hasher.close()


@asynccontextmanager
async def open_parser(
    settings: Settings,
    extractor: Extractor,
    cache: Cache,
    clock: Clock,
    breaker: Breaker,
    canonicalise: Callable[[str], str],
) -> AsyncIterator[Parser]:
    from vasset.adapters.cache.counted import CountedCache
    from vasset.services.parser.service import ParserService

    counted = CountedCache(cache, process_metrics().cache_read)
    parser = ParserService(extractor, counted, canonicalise, clock, breaker, cache_seconds=settings.parse_cache_seconds)
    try:
        yield parser
    finally:
        await parser.close()


def canonicaliser(settings: Settings) -> Callable[[str], str]:
    from vasset.adapters.fetch.guard import canonicaliser as engine_canonicaliser

    return engine_canonicaliser(settings.egress_allow)


def open_exits(settings: Settings, tools: MediaTools) -> ProxyPool | None:
    from vasset.bootstrap.exits import open_exits as open_configured

    return open_configured(
        settings, check_address=tools.check_address, guard_url=tools.guard_url, count=process_metrics().exit_used
    )


def disk_relief(settings: Settings, files: FileStore, clock: Clock) -> Callable[[], Awaitable[None]]:
    """The janitor's way out of a full disk."""
    from vasset.adapters.storage.eviction import DiskRelief

    return DiskRelief(
        settings.data_dir,
        files,
        clock,
        clean_percent=settings.disk_clean_percent,
        target_percent=settings.disk_target_percent,
    )


def make_library(library: LibraryStore) -> Library:
    from vasset.services.asset.service import LibraryService

    return LibraryService(library)


def report_unexpected(what: str, error: BaseException) -> None:
    """A defect of ours: logged once, here, with its stack."""
    import structlog

    structlog.get_logger("vasset.worker").error("unexpected failure", during=what, exc_info=error)
