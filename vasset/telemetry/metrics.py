"""The metrics of REQUIREMENTS I1, under their names. Labels are words from short lists of ours or the operator's: never a URL, a user or a task.

The definitions are the process's; whoever has the numbers sets them. Gauges of other servers (queue depth, quota) are sampled by
``telemetry/sampling.py``, those of the machine are read when Prometheus asks (``telemetry/machine.py``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from vasset.domain.download import Mode, TaskStatus
from vasset.domain.progress import WAITING_REASONS
from vasset.telemetry.machine import Machine

OUTCOMES = 500  # the success rate speaks about this many ended downloads of this process
SECONDS_BUCKETS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600)


class Metrics:
    """One per process and registry. Everything here is cheap and never raises for an unknown word: it counts as ``other``."""

    def __init__(self, *, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self._outcomes: deque[bool] = deque(maxlen=OUTCOMES)
        self._tasks = Counter(
            "download_task",
            "Executions of downloads that ended, by mode and how.",
            ["mode", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "download_task_seconds", "From claim to end of one execution.", ["mode"], buckets=SECONDS_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self._bytes = Counter("download_bytes", "Bytes of completed downloads.", registry=registry)
        self._success_rate = Gauge(
            "download_task_success_rate",
            f"Share of completed among the last {OUTCOMES} that completed or failed for good (1 before the first).",
            registry=registry,
        )
        self._success_rate.set(1.0)
        self._active = Gauge("active_download_count", "Downloads that run in this process now.", registry=registry)
        self._tasks_by_status = Gauge(
            "download_tasks", "Unfinished downloads by status.", ["status"], registry=registry
        )
        self._waiting = Gauge(
            "downloads_waiting",
            "Due downloads that do not start, by what they wait for.",
            ["reason"],
            registry=registry,
        )
        self._quota = Gauge(
            "user_quota_usage", "Share of today's quota that is used, over the users who used any.", registry=registry
        )
        self._pool = Gauge("database_connection_pool", "Database connections.", ["state"], registry=registry)
        self._hit_rate = Gauge(
            "redis_hit_rate", "Share of cache reads that found their key, of this process, since it started.",
            registry=registry,
        )  # fmt: skip
        self._cache_reads = Counter("cache_reads", "Cache reads.", ["result"], registry=registry)
        self._hits = self._misses = 0
        self._depth = Gauge("rabbitmq_queue_depth", "Wake-ups that wait in the queue.", registry=registry)
        self._outbox = Gauge("outbox_backlog", "Messages that wait for the relay.", registry=registry)
        self._breakers = Gauge("open_breakers", "Sites that are left alone now.", registry=registry)
        self._exits = Counter(
            "exit_uses", "Third-party exits leased, not given (failed), and refused by a site (blamed).",
            ["provider", "result"], registry=registry,
        )  # fmt: skip
        self._exit_cost = Counter(
            "exit_cost", "What leased exits cost, in the unit of the exits file.", ["provider"], registry=registry
        )

    def watch_machine(self, machine: Machine) -> None:
        """Report processor, memory, disk (in use and free) and network of the machine, by the names of ``telemetry/machine.py``."""
        self.registry.register(machine)

    def watch_active(self, count: Callable[[], int]) -> None:
        self._active.set_function(lambda: float(count()))

    def watch_waiting(self, counts: Callable[[], Mapping[str, int]]) -> None:
        for reason in WAITING_REASONS:
            self._waiting.labels(reason).set_function(lambda reason=reason: float(counts().get(reason, 0)))  # type: ignore[misc]

    def watch_pool(self, usage: Callable[[], Mapping[str, int]]) -> None:
        """``usage`` answers ``in_use``, ``idle`` and ``limit``."""
        for state in ("in_use", "idle", "limit"):
            self._pool.labels(state).set_function(lambda state=state: float(usage().get(state, 0)))  # type: ignore[misc]

    def watch_breakers(self, states: Callable[[], Mapping[str, str]]) -> None:
        self._breakers.set_function(lambda: float(sum(1 for state in states().values() if state != "closed")))

    def exit_used(self, provider: str, result: str, cost: float = 0.0) -> None:
        """``provider`` is a name of the operator's exits file, ``result`` one of ``leased``, ``failed`` and ``blamed``."""
        self._exits.labels(provider, result).inc()
        self._exit_cost.labels(provider).inc(cost)

    def task_ended(self, mode: Mode, status: TaskStatus, *, seconds: float, size_bytes: int = 0) -> None:
        """An execution ended in ``status`` (which may be ``retry`` or ``paused``)."""
        self._tasks.labels(str(mode), str(status)).inc()
        self._seconds.labels(str(mode)).observe(seconds)
        if status is TaskStatus.COMPLETED:
            self._bytes.inc(size_bytes)
        if status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
            self._outcomes.append(status is TaskStatus.COMPLETED)
            self._success_rate.set(sum(self._outcomes) / len(self._outcomes))

    def cache_read(self, hit: bool) -> None:
        self._cache_reads.labels("hit" if hit else "miss").inc()
        self._hits, self._misses = self._hits + hit, self._misses + (not hit)
        self._hit_rate.set(self._hits / (self._hits + self._misses))

    def queue_sampled(self, *, depth: int | None, outbox_backlog: int) -> None:
        """``depth`` None: the broker did not say; the last value stays."""
        if depth is not None:
            self._depth.set(depth)
        self._outbox.set(outbox_backlog)

    def tasks_sampled(self, by_status: Mapping[TaskStatus, int]) -> None:
        for status, count in by_status.items():
            self._tasks_by_status.labels(str(status)).set(count)

    def quota_sampled(self, usage: float) -> None:
        self._quota.set(usage)
