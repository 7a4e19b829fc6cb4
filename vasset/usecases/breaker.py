"""Leave a failing site alone for a moment (REQUIREMENTS G): our own, because no library at hand bounds the half-open probes.

Closed: outcomes are counted in time buckets; more than half failed among more than 20 opens it. Open: every check raises for 30 s.
Half-open: three probes may pass, no more; three successes close it, one failure opens it again. A probe whose outcome is never
recorded (cancelled, or failed for a reason that is not the site's) is replaced after another 30 s, so no permit is lost for good.

Kept per ``site|exit`` and per process: 21 dead links of one site must not stop another site, nor the same site through another exit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vasset.domain.errors import BreakerOpen
from vasset.domain.ports import Clock

CAPACITY = 10_000


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    window_seconds: float = 60.0
    buckets: int = 12
    min_requests: int = 20
    max_error_share: float = 0.5
    open_seconds: float = 30.0
    probes: int = 3


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Bucket:
    started: float
    succeeded: int = 0
    failed: int = 0


@dataclass(slots=True)
class Circuit:
    state: State = State.CLOSED
    buckets: deque[Bucket] = field(default_factory=deque)
    opened_at: float = 0.0
    probing_since: float = 0.0
    permits: int = 0
    outstanding: int = 0
    succeeded: int = 0


class CircuitBreaker:
    """The port ``Breaker``. Not thread-safe: one event loop."""

    def __init__(self, clock: Clock, policy: BreakerPolicy | None = None) -> None:
        self._clock = clock
        self._policy = policy or BreakerPolicy()
        self._circuits: OrderedDict[str, Circuit] = OrderedDict()

    def check(self, key: str) -> None:
        circuit = self._circuits.get(key)
        if circuit is None or circuit.state is State.CLOSED:
            return
        now = self._clock.monotonic()
        self._advance(circuit, now)
        if circuit.state is State.OPEN:
            self._refuse(key, circuit.opened_at + self._policy.open_seconds - now)
        if circuit.permits == 0:
            self._refuse(key, circuit.probing_since + self._policy.open_seconds - now)
        circuit.permits -= 1
        circuit.outstanding += 1

    def record(self, key: str, *, succeeded: bool) -> None:
        """Report what the site did. What arrives while the circuit is open began before and says nothing new."""
        circuit = self._circuits.setdefault(key, Circuit())
        self._circuits.move_to_end(key)
        if len(self._circuits) > CAPACITY:
            self._circuits.popitem(last=False)
        now = self._clock.monotonic()
        if circuit.state is State.CLOSED:
            self._count(circuit, now, succeeded)
        elif circuit.state is State.HALF_OPEN and circuit.outstanding > 0:
            self._judge_probe(circuit, now, succeeded)

    def states(self) -> Mapping[str, str]:
        """Of every circuit that saw traffic lately."""
        now = self._clock.monotonic()
        for circuit in self._circuits.values():
            if circuit.state is not State.CLOSED:
                self._advance(circuit, now)
        return {key: str(circuit.state) for key, circuit in self._circuits.items()}

    def _advance(self, circuit: Circuit, now: float) -> None:
        since = circuit.opened_at if circuit.state is State.OPEN else circuit.probing_since
        if now - since < self._policy.open_seconds:
            return
        if circuit.state is State.OPEN:
            circuit.state, circuit.succeeded = State.HALF_OPEN, 0
        circuit.probing_since, circuit.permits, circuit.outstanding = now, self._policy.probes, 0

    def _count(self, circuit: Circuit, now: float, succeeded: bool) -> None:
        policy, buckets = self._policy, circuit.buckets
        while buckets and now - buckets[0].started >= policy.window_seconds:
            buckets.popleft()
        if not buckets or now - buckets[-1].started >= policy.window_seconds / policy.buckets:
            buckets.append(Bucket(now))
        if succeeded:
            buckets[-1].succeeded += 1
            return
        buckets[-1].failed += 1
        failed = sum(bucket.failed for bucket in buckets)
        requests = failed + sum(bucket.succeeded for bucket in buckets)
        if requests > policy.min_requests and failed > policy.max_error_share * requests:
            self._open(circuit, now)

    def _judge_probe(self, circuit: Circuit, now: float, succeeded: bool) -> None:
        circuit.outstanding -= 1
        if not succeeded:
            self._open(circuit, now)
            return
        circuit.succeeded += 1
        if circuit.succeeded >= self._policy.probes:
            circuit.state = State.CLOSED

    def _open(self, circuit: Circuit, now: float) -> None:
        circuit.state, circuit.opened_at = State.OPEN, now
        circuit.buckets.clear()

    def _refuse(self, key: str, wait_seconds: float) -> None:
        site = key.partition("|")[0]
        wait = max(1.0, wait_seconds)
        raise BreakerOpen(f"{site} keeps failing; it is tried again in {wait:.0f} s", retry_after_seconds=wait)
