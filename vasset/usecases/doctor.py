"""Do rows, outbox, quota ledger and disk agree? Every end-to-end test ends by asking.

Repairs only what can be proven: a row without its file forgets it; a temporary file nobody knows goes. A file in the archive is never
deleted, and nothing of an unfinished task is touched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from vasset.domain.audit import Finding, KnownFile, ListedFile
from vasset.domain.download import TaskStatus
from vasset.domain.errors import NotFound, Unavailable
from vasset.domain.ports import FileStore, Storage

BUSY_GRACE_SECONDS = 300.0  # while downloads run, a file may be published an instant before its row says so


class RowAudit(Protocol):
    """What the database adapter can say about itself."""

    async def findings(self) -> Sequence[Finding]: ...

    async def repair(self, finding: Finding) -> None: ...

    def files(self) -> AsyncIterator[KnownFile]: ...

    async def statuses(self) -> Mapping[str, TaskStatus]: ...


class FileListing(Protocol):
    async def files(self) -> Sequence[ListedFile]: ...


class WorkspaceListing(Protocol):
    def unfinished(self) -> Sequence[str]: ...


class Doctor:
    def __init__(
        self,
        rows: RowAudit,
        files: FileStore,
        storage: Storage,
        listing: FileListing,
        workspaces: WorkspaceListing,
    ) -> None:
        self._rows = rows
        self._files = files
        self._storage = storage
        self._listing = listing
        self._workspaces = workspaces

    async def examine(self, *, fix: bool = False) -> Sequence[Finding]:
        """Every disagreement, worst first; with ``fix`` the repairable ones are mended and marked so."""
        found = [*await self._rows.findings(), *await self._disk()]
        if fix:
            found = [await self._mend(finding) if finding.repairable else finding for finding in found]
        return sorted(found, key=lambda finding: (finding.repaired, finding.is_note, finding.check, finding.subject))

    async def _disk(self) -> list[Finding]:
        """The disk is listed before the rows are read, and a file is looked for again before it is called missing."""
        listed = {file.relative_path: file for file in await self._listing.files()}
        statuses = await self._rows.statuses()
        known = {file.relative_path: file async for file in self._rows.files()}
        moving = {entry.file_path for entry in await self._files.misplaced(limit=10_000)}
        found = [
            _missing(file)
            for file in known.values()
            if file.relative_path not in moving | set(listed) and self._is_gone(file)
        ]
        found += [_wrong_size(file, listed[path]) for path, file in known.items() if _differs(file, listed.get(path))]
        found += [_unmoved(path) for path in moving if path is not None]
        busy = any(status is TaskStatus.RUNNING for status in statuses.values())
        if moving:
            listed = {path: file for path, file in listed.items() if not path.startswith("archive/")}
        found += [
            _unknown(file)
            for path, file in listed.items()
            if path not in known and not _may_be_coming(file, statuses, busy=busy)
        ]
        return found + [_abandoned(task_id, statuses.get(task_id)) for task_id in self._ended_workspaces(statuses)]

    def _is_gone(self, file: KnownFile) -> bool:
        if file.owner is not None or file.removing:
            return False  # another machine's disk, or just being removed
        try:
            self._storage.resolve(file.relative_path)
        except NotFound:
            return True
        return False

    def _ended_workspaces(self, statuses: Mapping[str, TaskStatus]) -> list[str]:
        return [
            task_id
            for task_id in self._workspaces.unfinished()
            if task_id not in statuses or statuses[task_id].is_terminal
        ]

    async def _mend(self, finding: Finding) -> Finding:
        try:
            if finding.check == "missing_file":
                await self._files.forget_file(int(finding.subject), reason="missing")
            elif finding.check == "unknown_file":
                await self._storage.delete(finding.subject)
            elif finding.check == "workspace":
                await self._storage.discard_workspace(finding.subject)
            else:
                await self._rows.repair(finding)
        except Unavailable as error:
            return replace(finding, message=f"{finding.message}; could not be repaired: {error.message}")
        return replace(finding, repaired=True)


def _missing(file: KnownFile) -> Finding:
    return Finding(
        "missing_file", str(file.history_id), f"history {file.history_id} names {file.relative_path}, which is not there",
        repairable=True,
    )  # fmt: skip


def _differs(file: KnownFile, listed: ListedFile | None) -> bool:
    return listed is not None and listed.size_bytes != file.size_bytes


def _wrong_size(file: KnownFile, listed: ListedFile) -> Finding:
    return Finding(
        "wrong_size",
        str(file.history_id),
        f"{file.relative_path} has {listed.size_bytes} bytes, its row says {file.size_bytes}; download it again",
    )


def _unmoved(path: str) -> Finding:
    return Finding("unmoved", path, f"{path} is kept but not yet in the archive; the janitor moves it", is_note=True)


def _unknown(file: ListedFile) -> Finding:
    archived = file.relative_path.startswith("archive/")
    advice = "look at it and remove it by hand" if archived else "--fix removes it"
    return Finding(
        "unknown_file", file.relative_path, f"no row knows {file.relative_path}; {advice}", repairable=not archived
    )


def _abandoned(task_id: str, status: TaskStatus | None) -> Finding:
    whose = f"task {task_id}, which is {status}" if status else f"task {task_id}, which does not exist"
    return Finding(
        "workspace", task_id, f"there are unfinished files of {whose}", repairable=True, is_note=status is not None
    )


def _may_be_coming(file: ListedFile, statuses: Mapping[str, TaskStatus], *, busy: bool) -> bool:
    """Whether a running download may be about to write this file's row."""
    parts = file.relative_path.split("/")
    if parts[0] == "tmp":
        status = statuses.get(parts[1])
        return status is not None and not status.is_terminal
    return busy and file.age_seconds < BUSY_GRACE_SECONDS
