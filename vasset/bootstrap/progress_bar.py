"""The progress bar people see on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from vasset.domain.download import Phase
from vasset.domain.ports import TransferSnapshot

WORDS = {
    Phase.PARSING: "Reading the page",
    Phase.DOWNLOADING: "Downloading",
    Phase.MERGING: "Merging",
    Phase.POSTPROCESSING: "Finishing",
    Phase.FINALIZING: "Finishing",
}


class Bar:
    def __init__(self, progress: Progress, line: TaskID) -> None:
        self._progress = progress
        self._line = line

    def phase(self, phase: Phase) -> None:
        self._progress.update(self._line, description=WORDS.get(phase, str(phase)))

    def show(self, title: str | None, snapshot: TransferSnapshot | None) -> None:
        if snapshot is not None:
            self._progress.update(
                self._line, completed=snapshot.downloaded_bytes, total=snapshot.total_bytes, title=title or ""
            )


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """On standard error, so that standard output holds the path alone."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[title]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, progress.add_task(WORDS[Phase.PARSING], total=None, title=""))
