"""Tasks, workers and dead letters between domain and wire."""

from __future__ import annotations

from vasset.domain.download import Task
from vasset.domain.ports import DeadLetter, WorkerState
from vasset.services.convert import moment, optional, seconds
from vasset.services.proto import downloader_pb2 as wire


def worker_to_wire(state: WorkerState) -> wire.WorkerMessage:
    return wire.WorkerMessage(
        name=state.name,
        slots=state.slots,
        running=len(state.task_ids),
        draining=state.draining,
        task_ids=list(state.task_ids),
        waiting_for=state.waiting_for,
        breakers=dict(state.breakers),
        extractor_version=state.extractor_version,
    )


def worker_from_wire(message: wire.WorkerMessage) -> WorkerState:
    return WorkerState(
        name=message.name,
        slots=message.slots,
        draining=message.draining,
        task_ids=tuple(message.task_ids),
        waiting_for=optional(message, "waiting_for"),
        breakers=dict(message.breakers),
        extractor_version=message.extractor_version,
    )


def letter_to_wire(letter: DeadLetter) -> wire.DeadLetterMessage:
    return wire.DeadLetterMessage(
        task_id=letter.task_id,
        reason=letter.reason,
        message=letter.message,
        attempt=letter.attempt,
        failed_at=seconds(letter.failed_at),
        body=letter.body,
    )


def letter_from_wire(message: wire.DeadLetterMessage) -> DeadLetter:
    return DeadLetter(
        task_id=message.task_id,
        reason=message.reason,
        message=message.message,
        attempt=message.attempt,
        failed_at=moment(message.failed_at),
        body=message.body,
    )


def task_to_wire(task: Task) -> wire.TaskMessage:
    failure = task.failure
    return wire.TaskMessage(
        id=task.id,
        user_id=task.user_id,
        history_id=task.history_id,
        url=task.url,
        mode=task.mode.value,
        quality=task.quality,
        container=task.container.value,
        status=task.status.value,
        phase=task.phase.value,
        attempt=task.attempt,
        fence=task.fence,
        title=task.title,
        failure=None
        if failure is None
        else wire.FailureMessage(reason=failure.reason, message=failure.message, retryable=failure.retryable),
        downloaded_bytes=task.downloaded_bytes,
        total_bytes=task.total_bytes,
    )
