"""A failing site is left alone and asked again by three probes, no more; nobody else pays for it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.support.clock import FakeClock
from vasset.domain.errors import BreakerOpen
from vasset.usecases.breaker import CAPACITY, BreakerPolicy, CircuitBreaker

KEY, OTHER = "site.example|direct", "other.example|direct"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> CircuitBreaker:
    return CircuitBreaker(clock)


def open_it(breaker: CircuitBreaker, key: str = KEY) -> None:
    for _ in range(21):
        breaker.record(key, succeeded=False)


def passes(breaker: CircuitBreaker, key: str = KEY) -> bool:
    try:
        breaker.check(key)
    except BreakerOpen:
        return False
    return True


def test_twenty_failures_are_too_few_and_the_next_opens(breaker: CircuitBreaker) -> None:
    for _ in range(20):
        breaker.record(KEY, succeeded=False)
    assert passes(breaker)
    breaker.record(KEY, succeeded=False)
    assert not passes(breaker)


def test_exactly_half_is_not_more_than_half(breaker: CircuitBreaker) -> None:
    for number in range(40):
        breaker.record(KEY, succeeded=number % 2 == 0)
    assert passes(breaker)
    breaker.record(KEY, succeeded=False)
    assert not passes(breaker)


def test_old_failures_are_forgotten(breaker: CircuitBreaker, clock: FakeClock) -> None:
    for _ in range(20):
        breaker.record(KEY, succeeded=False)
    clock.advance(61)
    breaker.record(KEY, succeeded=False)
    assert passes(breaker)


def test_another_site_is_not_touched(breaker: CircuitBreaker) -> None:
    open_it(breaker)
    assert passes(breaker, OTHER)
    assert passes(breaker, "site.example|proxy-7")


def test_the_refusal_says_when_it_is_tried_again(breaker: CircuitBreaker, clock: FakeClock) -> None:
    open_it(breaker)
    clock.advance(10)
    with pytest.raises(BreakerOpen, match=r"site\.example") as refused:
        breaker.check(KEY)
    assert refused.value.retry_after_seconds == pytest.approx(20)


def test_after_thirty_seconds_three_probes_pass_and_no_more(breaker: CircuitBreaker, clock: FakeClock) -> None:
    open_it(breaker)
    clock.advance(29.9)
    assert not passes(breaker)
    clock.advance(0.1)
    assert [passes(breaker) for _ in range(10)] == [True] * 3 + [False] * 7


def test_three_good_probes_close_it(breaker: CircuitBreaker, clock: FakeClock) -> None:
    open_it(breaker)
    clock.advance(30)
    for _ in range(3):
        breaker.check(KEY)
        assert breaker.states()[KEY] == "half_open"
        breaker.record(KEY, succeeded=True)
    assert breaker.states()[KEY] == "closed"
    assert all(passes(breaker) for _ in range(50))


def test_one_bad_probe_opens_it_for_another_thirty_seconds(breaker: CircuitBreaker, clock: FakeClock) -> None:
    open_it(breaker)
    clock.advance(30)
    breaker.check(KEY)
    breaker.record(KEY, succeeded=False)
    clock.advance(29.9)
    assert not passes(breaker)
    clock.advance(0.1)
    assert passes(breaker)


def test_probes_that_never_report_are_replaced(breaker: CircuitBreaker, clock: FakeClock) -> None:
    """A cancelled download says nothing about the site; its permit must not be lost for good."""
    open_it(breaker)
    clock.advance(30)
    assert [passes(breaker) for _ in range(4)] == [True, True, True, False]
    clock.advance(30)
    assert [passes(breaker) for _ in range(4)] == [True, True, True, False]


def test_late_news_while_open_changes_nothing(breaker: CircuitBreaker, clock: FakeClock) -> None:
    open_it(breaker)
    for _ in range(100):
        breaker.record(KEY, succeeded=True)
    assert not passes(breaker)
    clock.advance(30)
    assert passes(breaker)


def test_memory_is_bounded(breaker: CircuitBreaker) -> None:
    for number in range(CAPACITY + 100):
        breaker.record(f"s{number}|direct", succeeded=True)
    assert len(breaker.states()) == CAPACITY


class BreakerMachine(RuleBasedStateMachine):
    """Any order of questions, outcomes and waiting; what is checked is the promise, not the bookkeeping."""

    policy = BreakerPolicy(window_seconds=60, buckets=60, min_requests=4, open_seconds=30, probes=3)

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.breaker = CircuitBreaker(self.clock, self.policy)
        self.opened_at: float | None = None
        self.gate_at: float | None = None
        self.permits = self.unreported = 0

    def state(self) -> str:
        """Ask, and follow when the circuit opened and when its gate for three probes last did."""
        state = self.breaker.states().get(KEY, "closed")
        now = self.clock.monotonic()
        if state != "half_open":
            self.gate_at = None
        elif self.gate_at is None or now - self.gate_at >= self.policy.open_seconds:
            self.gate_at, self.permits = now, 0
        if state != "open":
            self.opened_at = None
        elif self.opened_at is None:
            self.opened_at = now
        return state

    @rule(seconds=st.sampled_from([1, 5, 29, 30, 31, 61]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.state()

    @rule()
    def ask(self) -> None:
        state = self.state()
        allowed = passes(self.breaker)
        if state == "closed":
            assert allowed
        if state == "open":
            assert not allowed
            assert self.opened_at is not None
            assert self.clock.monotonic() - self.opened_at < self.policy.open_seconds
        if state == "half_open":
            assert allowed == (self.permits < self.policy.probes)
            self.permits += allowed
        self.unreported += allowed

    @precondition(lambda self: self.unreported > 0)
    @rule(succeeded=st.booleans())
    def report(self, succeeded: bool) -> None:
        before = self.state()
        self.unreported -= 1
        self.breaker.record(KEY, succeeded=succeeded)
        after = self.state()
        if succeeded:
            assert after in {before, "closed"}
            assert (before, after) != ("open", "closed")

    @rule()
    def fail_often(self) -> None:
        before = self.state()
        for _ in range(500):
            self.breaker.record(KEY, succeeded=False)
        assert self.state() == "open" or before == "half_open"

    @rule()
    def succeed_often(self) -> None:
        before = self.state()
        for _ in range(5):
            self.breaker.record(KEY, succeeded=True)
        assert self.state() == before or before == "half_open"


BreakerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
TestBreakerMachine = BreakerMachine.TestCase
