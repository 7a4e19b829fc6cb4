"""One socket's view of its user's tasks: a bounded mailbox in which the latest frame wins."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from vasset.domain.progress import ProgressFrame

FRAMES_PER_SECOND = 4.0
BURST = 2.0
MAX_ENDINGS = 1_000
MAX_REMEMBERED = 2_000


class Watcher:
    """Mailbox between the hub and one socket. Memory is bounded by the number of tasks, whatever the reader does.

    Per task: ``seq`` strictly rises, at most 4 frames a second leave on average, a newer frame replaces one that still waits; a
    terminal frame is neither replaced nor delayed.
    """

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.task_ids: frozenset[str] | None = None
        self.sent: dict[str, int] = {}
        self.unfinished: dict[str, float] = {}
        """Watched tasks that have not ended → when they were last heard of; silent ones are looked up in SQL."""
        self.endings: deque[ProgressFrame] = deque(maxlen=MAX_ENDINGS)
        self.latest: dict[str, ProgressFrame] = {}
        self.wake = asyncio.Event()
        self.wants_snapshot = True
        self._budgets: dict[str, tuple[float, float]] = {}

    def watch_only(self, task_ids: Iterable[str]) -> None:
        self.task_ids = frozenset(task_ids)
        self.unfinished = {task: heard for task, heard in self.unfinished.items() if task in self.task_ids}
        self.latest = {task: frame for task, frame in self.latest.items() if task in self.task_ids}
        self.wants_snapshot = True
        self.wake.set()

    def offer(self, frame: ProgressFrame, now: float) -> None:
        """Take a frame of this user from the hub; stale and unwatched ones are dropped here."""
        task_id = frame.task_id
        if self.task_ids is not None and task_id not in self.task_ids:
            return
        waiting = self.latest.get(task_id)
        if frame.seq <= self.sent.get(task_id, -1) or (waiting is not None and frame.seq <= waiting.seq):
            return
        if frame.is_terminal:
            self.latest.pop(task_id, None)
            self.unfinished.pop(task_id, None)
            self._budgets.pop(task_id, None)
            self._remember(task_id, frame.seq)
            self.endings.append(frame)
        else:
            self.unfinished[task_id] = now
            self.latest[task_id] = frame
        self.wake.set()

    def note_snapshot(self, frames: Iterable[ProgressFrame], now: float) -> list[ProgressFrame]:
        """Those frames that tell the socket something new, remembered as sent."""
        told = []
        for frame in frames:
            if frame.seq < self.sent.get(frame.task_id, -1):
                continue
            self.sent[frame.task_id] = frame.seq
            waiting = self.latest.get(frame.task_id)
            if waiting is not None and waiting.seq <= frame.seq:
                del self.latest[frame.task_id]
            if not frame.is_terminal:
                self.unfinished[frame.task_id] = now
            told.append(frame)
        self._drop_endings_told_by(told)
        return told

    def _drop_endings_told_by(self, snapshot: list[ProgressFrame]) -> None:
        """An ending that arrived between joining and the snapshot stands in both."""
        seqs = {frame.task_id: frame.seq for frame in snapshot}
        news = [ending for ending in self.endings if ending.seq > seqs.get(ending.task_id, -1)]
        self.endings = deque(news, maxlen=MAX_ENDINGS)

    def due(self, now: float) -> tuple[list[ProgressFrame], float | None]:
        """Frames that may leave now, and the seconds until the next waiting one may."""
        frames = list(self.endings)
        self.endings.clear()
        wait: float | None = None
        for task_id, frame in list(self.latest.items()):
            delay = self._delay(task_id, now)
            if delay <= 0.0:
                del self.latest[task_id]
                self.sent[task_id] = frame.seq
                frames.append(frame)
            elif wait is None or delay < wait:
                wait = delay
        self.wake.clear()
        return frames, wait

    def _remember(self, task_id: str, seq: int) -> None:
        """A socket may live for days: beyond 2,000 tasks the longest ended are forgotten."""
        self.sent.pop(task_id, None)
        self.sent[task_id] = seq
        if len(self.sent) > MAX_REMEMBERED:
            ended = next((task for task in self.sent if task not in self.unfinished), None)
            if ended is not None:
                del self.sent[ended]

    def silent(self, now: float, seconds: float) -> list[str]:
        return [task_id for task_id, heard in self.unfinished.items() if now - heard >= seconds]

    def asked_about(self, task_id: str, until: float) -> None:
        """The task has just been looked up; it counts as heard of until then."""
        if task_id in self.unfinished:
            self.unfinished[task_id] = until

    def _delay(self, task_id: str, now: float) -> float:
        """A token bucket: two at once, four a second; the producer's own jitter costs nobody 250 ms."""
        tokens, at = self._budgets.get(task_id, (BURST, now))
        tokens = min(BURST, tokens + (now - at) * FRAMES_PER_SECOND)
        if tokens < 1.0:
            self._budgets[task_id] = (tokens, now)
            return (1.0 - tokens) / FRAMES_PER_SECOND
        self._budgets[task_id] = (tokens - 1.0, now)
        return 0.0
