"""The data folder (REQUIREMENTS A3, F): ``tmp/{task_id}/{title}.{ext}`` and ``archive/{user_id}/{YYYYMMDD}/{title}_{timestamp}.{ext}``."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import AbstractAsyncContextManager
from pathlib import Path, PurePosixPath

import psutil

from vasset.adapters.storage.beneath import fsync_path, open_beneath, open_regular_beneath, rename_no_replace
from vasset.adapters.storage.publication import published_from, read_note, write_note
from vasset.adapters.storage.reservations import Reservations
from vasset.adapters.storage.titles import safe_ext, safe_title
from vasset.adapters.storage.workspaces import Workspaces
from vasset.domain.download import Lease, Mode, Task
from vasset.domain.errors import DiskFull, LeaseLost, NotFound, StorageFailed
from vasset.domain.history import HistoryEntry, PublishedFile
from vasset.domain.ports import Clock, DiskUsage

MAX_SUFFIX = 1_000
LARGEST_FLOOR_SHARE = 20  # as in the engine's sink: a small disk is of use too


class LocalStorage:
    """Implements ``Storage`` on one filesystem. ``owner`` names the machine whose disk this is when there is no shared folder."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        *,
        alert_percent: float = 85.0,
        floor_bytes: int = 0,
        plenty_bytes: int | None = None,
        owner: str | None = None,
    ) -> None:
        self.root = root.resolve()
        self._floor_bytes = floor_bytes
        self._plenty_bytes = plenty_bytes
        self._clock = clock
        self._owner = owner
        self._tmp = self.root / "tmp"
        self._archive = self.root / "archive"
        for folder in (self._tmp, self._archive):
            folder.mkdir(parents=True, exist_ok=True)
        self.workspaces = Workspaces(self._tmp)
        self._reservations = Reservations(self.usage, alert_percent=alert_percent)

    def workspace(self, task_id: str, fence: int) -> Path:
        try:
            return self.workspaces.enter(task_id, fence)
        except OSError as error:
            raise _storage_error("make a folder for the download", error) from error

    def published(self, task_id: str, fence: int) -> PublishedFile | None:
        file = read_note(self.workspaces.folder(task_id) / f".work-{fence}")
        if file is None:
            return None
        try:
            descriptor = open_regular_beneath(self.root, file.relative_path)
        except OSError:
            return None  # the rename never happened: the source is still in the workspace
        try:
            return file if os.fstat(descriptor).st_size == file.size_bytes else None
        finally:
            os.close(descriptor)

    async def publish(
        self, source: Path, lease: Lease, *, title: str, ext: str, digest: tuple[str, str]
    ) -> PublishedFile:
        if source.parent != self.workspaces.folder(lease.task.id) / f".work-{lease.fence}":
            raise StorageFailed(f"{source.name} is not in the workspace of task {lease.task.id}", retryable=False)
        return await asyncio.to_thread(self._publish, source, lease, title, ext, digest)

    def _publish(self, source: Path, lease: Lease, title: str, ext: str, digest: tuple[str, str]) -> PublishedFile:
        try:
            fsync_path(source)
            size = source.stat(follow_symlinks=False).st_size
            folder, stem = self._place(lease.task, title)
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, MAX_SUFFIX):
                name = f"{stem}.{safe_ext(ext)}" if number == 1 else f"{stem} ({number}).{safe_ext(ext)}"
                target = folder / name
                if os.path.lexists(target):
                    continue
                file = PublishedFile(
                    relative_path=str(target.relative_to(self.root)),
                    file_name=name,
                    size_bytes=size,
                    digest=digest[1],
                    hash_algorithm=digest[0],
                    owner=self._owner,
                )
                write_note(source, file)
                try:
                    rename_no_replace(source, target)
                except FileExistsError:
                    continue
                self._fsync_folders(folder)
                return file
        except FileNotFoundError as error:
            if not source.parent.exists():
                raise LeaseLost(f"task {lease.task.id} was taken over while its file was being published") from error
            raise _storage_error("publish the file", error) from error
        except OSError as error:
            raise _storage_error("publish the file", error) from error
        raise StorageFailed(f"there are {MAX_SUFFIX} files named like {stem!r} already; delete some and retry")

    def _place(self, task: Task, title: str) -> tuple[Path, str]:
        stem = safe_title(title)
        if task.mode is Mode.QUICK:
            return self.workspaces.folder(task.id), stem
        now = self._clock.now()
        return self._archive / str(task.user_id) / f"{now:%Y%m%d}", f"{stem}_{now:%Y%m%d%H%M%S}"

    def _fsync_folders(self, folder: Path) -> None:
        while folder != self.root:
            fsync_path(folder)
            folder = folder.parent

    def resolve(self, relative_path: str) -> Path:
        """Checked at this moment; whoever must not be raced uses :meth:`open`."""
        os.close(self.open(relative_path))
        return self.root / relative_path

    def open(self, relative_path: str) -> int:
        """A descriptor for reading. Raises ``NotFound`` for anything but a regular file of ours below the root."""
        try:
            return open_regular_beneath(self.root, relative_path)
        except (OSError, ValueError) as error:
            raise NotFound("the file is not there any more") from error

    async def delete(self, relative_path: str) -> None:
        await asyncio.to_thread(self._delete, relative_path)

    def _delete(self, relative_path: str) -> None:
        """Through the folder's descriptor, so that a swapped folder cannot lead elsewhere. Deleting twice is harmless."""
        path = PurePosixPath(relative_path)
        try:
            folder = open_beneath(self.root, str(path.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return
        try:
            os.unlink(path.name, dir_fd=folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _storage_error(f"delete {path.name}", error) from error
        finally:
            os.close(folder)
        if path.parts[0] == "tmp":
            Workspaces.remove_if_empty(self.root / path.parent)

    async def discard_workspace(self, task_id: str, *, fence: int | None = None, withdraw: bool = False) -> None:
        await asyncio.to_thread(self._discard, task_id, fence, withdraw)

    def _discard(self, task_id: str, fence: int | None, withdraw: bool) -> None:
        def last_look(folder: Path) -> None:
            if withdraw and (file := published_from(self.root, folder)) is not None:
                self._delete(file.relative_path)

        self.workspaces.discard(task_id, fence, last_look=last_look)

    def usage(self) -> DiskUsage:
        disk = psutil.disk_usage(str(self.root))
        return DiskUsage(
            total_bytes=disk.used + disk.free,
            used_bytes=disk.used,
            free_bytes=disk.free,
            reserved_bytes=self._reservations.reserved_bytes,
            floor_bytes=min(self._floor_bytes, disk.total // LARGEST_FLOOR_SHARE),
            plenty_bytes=self._plenty_bytes,
        )

    def reserve(self, size_bytes: int) -> AbstractAsyncContextManager[None]:
        return self._reservations.hold(size_bytes)

    async def promote(self, entry: HistoryEntry) -> PublishedFile:
        return await asyncio.to_thread(self._promote, entry)

    def _promote(self, entry: HistoryEntry) -> PublishedFile:
        """The target follows from the row alone, so a move that a crash cut off from its row is found again."""
        source = self.root / (entry.file_path or "")
        stem, suffix = safe_title(Path(entry.file_name or "").stem), source.suffix
        moved_at = entry.completed_at or entry.created_at
        folder = self._archive / str(entry.user_id) / f"{moved_at:%Y%m%d}"
        stem = f"{stem}_{moved_at:%Y%m%d%H%M%S}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(1, MAX_SUFFIX):
                target = folder / (f"{stem}{suffix}" if number == 1 else f"{stem} ({number}){suffix}")
                if source.exists():
                    try:
                        rename_no_replace(source, target)
                    except FileExistsError:
                        continue
                    self._fsync_folders(folder)
                elif not target.is_file() or target.stat().st_size != entry.file_size:
                    raise NotFound("the file is not there any more")
                Workspaces.remove_if_empty(source.parent)
                return PublishedFile(
                    relative_path=str(target.relative_to(self.root)),
                    file_name=entry.file_name or target.name,
                    size_bytes=target.stat().st_size,
                    digest=entry.file_hash or "",
                    hash_algorithm=entry.hash_algorithm or "",
                    owner=self._owner,
                )
        except OSError as error:
            raise _storage_error("move the file to the archive", error) from error
        raise StorageFailed(f"there are {MAX_SUFFIX} files named like {stem!r} already; delete some and retry")


def _storage_error(attempt: str, error: OSError) -> StorageFailed:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DiskFull(f"the disk is full: could not {attempt}; delete files and retry")
    return StorageFailed(f"could not {attempt}: {error.strerror}")
