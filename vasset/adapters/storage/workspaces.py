"""``tmp/{task_id}/.work-{fence}``: unfinished files of one task, owned by the highest fence.

The fence is part of the path. Taking over is one rename of the folder, after which every path a stale worker still knows is gone: it
can neither rename its bytes over ours nor publish them. The losing option, a ``.fence`` file, leaves a gap between reading it and acting.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from vasset.domain.errors import LeaseLost, NotFound

TASK_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}\Z")
_WORK = re.compile(r"\.work-([0-9]{1,18})\Z")
_GONE = re.compile(r"\.gone-([0-9]{1,18})\Z")  # out of every worker's reach, not yet removed


class Workspaces:
    def __init__(self, tmp: Path) -> None:
        self._tmp = tmp

    def folder(self, task_id: str) -> Path:
        """``tmp/{task_id}``: also where a quick download's finished file lives."""
        if not TASK_ID.match(task_id):
            raise NotFound(f"no folder can belong to a task named {task_id[:64]!r}")
        return self._tmp / task_id

    def enter(self, task_id: str, fence: int) -> Path:
        """Take over whatever an earlier fence left. Raises ``LeaseLost`` when a later one was here."""
        folder = self.folder(task_id)
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f".work-{fence}"
        fences = self.fences(task_id)
        if fences and fences[-1] > fence:
            raise LeaseLost(f"task {task_id} was taken over with fence {fences[-1]}; fence {fence} must stop")
        earlier = [number for number in fences if number < fence]
        if earlier and not mine.exists():
            with contextlib.suppress(FileNotFoundError):  # its worker is discarding it in this moment: we begin afresh
                (folder / f".work-{earlier.pop()}").rename(mine)
        mine.mkdir(parents=True, exist_ok=True)
        for number in earlier:
            shutil.rmtree(folder / f".work-{number}", ignore_errors=True)
        return mine

    def fences(self, task_id: str) -> list[int]:
        """Fences that have a workspace, rising."""
        folder = self.folder(task_id)
        if not folder.is_dir():
            return []
        return sorted(int(match[1]) for entry in folder.iterdir() if (match := _WORK.match(entry.name)))

    def discard(
        self, task_id: str, fence: int | None, *, last_look: Callable[[Path], None] = lambda folder: None
    ) -> None:
        """Those of ``fence`` and before; None: all. Each is first renamed out of reach, so that nobody can take it over between
        ``last_look`` and its removal.
        """
        folder = self.folder(task_id)
        self._remove_gone(folder, fence, last_look)
        for number in self.fences(task_id):
            if fence is None or number <= fence:
                with contextlib.suppress(FileNotFoundError):  # taken over in this moment: it is somebody's again
                    (folder / f".work-{number}").rename(folder / f".gone-{number}")
        self._remove_gone(folder, fence, last_look)
        self.remove_if_empty(folder)

    @staticmethod
    def _remove_gone(folder: Path, fence: int | None, last_look: Callable[[Path], None]) -> None:
        if not folder.is_dir():
            return
        for gone in list(folder.iterdir()):
            match = _GONE.match(gone.name)
            if match is not None and (fence is None or int(match[1]) <= fence):
                last_look(gone)
                shutil.rmtree(gone, ignore_errors=True)

    @staticmethod
    def remove_if_empty(folder: Path) -> None:
        try:
            folder.rmdir()
        except OSError:
            return  # something published, or somebody else's, is in it

    def unfinished(self) -> list[str]:
        """Tasks that have a workspace, whoever they belong to."""
        if not self._tmp.is_dir():
            return []
        names = [entry.name for entry in self._tmp.iterdir() if entry.is_dir() and TASK_ID.match(entry.name)]
        return [name for name in names if self.fences(name) or self._has_gone(name)]

    def _has_gone(self, task_id: str) -> bool:
        folder = self.folder(task_id)
        return folder.is_dir() and any(_GONE.match(entry.name) for entry in folder.iterdir())
