"""``vasset doctor``: the check-up against the configured database and data folder, also beside a running server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from vasset.config import Settings
from vasset.domain.audit import Finding
from vasset.domain.errors import Unavailable, VAssetError


def doctor(settings: Settings, fix: bool) -> int:
    """Print what disagrees. Answers 1 when something is wrong and was not repaired."""
    if not settings.data_dir.is_dir():
        raise Unavailable(f"there is no data folder {settings.data_dir}; name the server's with --data-dir")
    findings = asyncio.run(examine(settings, fix=fix))
    for finding in findings:
        word = "repaired" if finding.repaired else "note" if finding.is_note else "wrong"
        sys.stdout.write(f"{word:8} {finding.check}: {finding.message}\n")
    _say_runtimes(settings)
    wrong = [finding for finding in findings if not (finding.repaired or finding.is_note)]
    if not wrong:
        sys.stdout.write("Rows, outbox, quota ledger and disk agree.\n")
    elif any(finding.repairable for finding in wrong):
        sys.stdout.write("Run `vasset doctor --fix` to repair what can be repaired.\n")
    return 1 if wrong else 0


def _say_runtimes(settings: Settings) -> None:
    """What yt-dlp can really use here. A missing one is no disagreement of records: it does not change the exit code."""
    from vasset.adapters.extract.runtimes import examine_runtimes

    try:
        runtimes = asyncio.run(examine_runtimes(settings.ytdlp_channel_dir or settings.data_dir / "ytdlp"))
    except VAssetError as error:
        sys.stdout.write(f"unusable runtimes: {error.message}\n")
        return
    for runtime in runtimes:
        found = "unusable" if runtime.version is None else "usable"
        sys.stdout.write(f"{found:8} {runtime.name}: {runtime.version or runtime.problem}\n")


async def examine(settings: Settings, *, fix: bool = False) -> Sequence[Finding]:
    """Open what the check-up needs, examine, close. Raises ``DependencyDown`` when the database does not answer."""
    from vasset.adapters.db.audit import SqlAudit
    from vasset.adapters.db.database import open_database
    from vasset.adapters.db.files import SqlFileStore
    from vasset.adapters.db.migrate import HEAD, revision_of
    from vasset.adapters.storage.listing import DiskListing
    from vasset.bootstrap.clock import SystemClock
    from vasset.bootstrap.platform import open_storage
    from vasset.usecases.doctor import Doctor

    if settings.database_url is None and not (settings.data_dir / "vasset.db").is_file():
        return []  # the first `vasset serve` makes a database; looking makes none
    storage = open_storage(settings, SystemClock())
    database = open_database(settings.resolved_database_url, pool_size=2)
    try:
        if (
            found := await revision_of(database)
        ) != HEAD:  # looking changes nothing: an older server may be running on it
            raise Unavailable(
                f"the database is at schema {found or 'none'} and this version speaks {HEAD}; "
                "start the server, or run `vasset migrate`, and examine it then"
            )
        rows, files = SqlAudit(database), SqlFileStore(database)
        return await Doctor(rows, files, storage, DiskListing(settings.data_dir), storage.workspaces).examine(fix=fix)
    finally:
        await database.close()
