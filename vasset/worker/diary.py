"""What the log says of every execution: that it started, and how it ended, with task, user and address (REQUIREMENTS I3).

Bound here, the three are on every other line that is written meanwhile on its behalf too: extraction, engine, storage, database.
"""

from __future__ import annotations

import structlog

from vasset.domain.download import TaskStatus
from vasset.telemetry.context import task_context
from vasset.usecases.run_download import Ended, RunDownload

log = structlog.get_logger("vasset.worker")
WORDS = {
    TaskStatus.COMPLETED: "download completed",
    TaskStatus.FAILED: "download failed",
    TaskStatus.RETRY: "download will be tried again",
    TaskStatus.CANCELLED: "download cancelled",
    TaskStatus.PAUSED: "download paused",
}
HANDED_BACK = "download handed back"
LOST = "download left to another worker"


async def told(run: RunDownload) -> Ended:
    """Run it and write both lines. The address is redacted where the line is written (``telemetry/redaction.py``)."""
    task = run.task
    with task_context(task.id, user_id=task.user_id, url=task.url):
        log.info("download started", mode=str(task.mode), attempt=task.attempt, fence=run.lease.fence)
        ended = await run.run()
        _tell(run, ended)
    return ended


def _tell(run: RunDownload, ended: Ended) -> None:
    task, seconds = ended.task, round(run.seconds, 2)
    if task is None:
        log.warning(LOST, seconds=seconds)
    elif task.status in (TaskStatus.FAILED, TaskStatus.RETRY) and task.failure is not None:
        log.warning(
            WORDS[task.status], seconds=seconds, attempt=task.attempt, reason=task.failure.reason,
            problem=task.failure.message,
        )  # fmt: skip
    else:
        log.info(WORDS.get(task.status, HANDED_BACK), seconds=seconds, bytes=task.downloaded_bytes)
