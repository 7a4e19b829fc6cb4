"""The checker of the fault campaign can fail: every broken promise is found in a doctored history, and an honest one is clean."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.faults.campaign.checker import check, summary

A, B = "a" * 64, "b" * 64


class Told:
    """An honest history of one user and two downloads, to be doctored."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._time = itertools.count(1)
        self._numbers = itertools.count(1)
        self.note("body", url="http://o/1", digests=[A])
        self.note("body", url="http://o/2", digests=[B])

    def note(self, what: str, **detail: Any) -> None:
        self._add("note", next(self._numbers), what, **detail)

    def call(self, what: str, *, ending: str = "ok", answer: dict[str, Any] | None = None, **asked: Any) -> None:
        number = next(self._numbers)
        self._add("invoke", number, what, who="ann", **asked)
        self._add(ending, number, what, **(answer or {}))

    def submit(self, key: str, task: str, url: str) -> None:
        self.call("submit", key=key, url=url, answer={"task": task, "history": 1})

    def fetch(self, task: str, digest: str) -> None:
        self.call("fetch", task=task, answer={"digest": digest, "size": 7})

    def read(self, task: str, status: str) -> None:
        self.call("read", task=task, answer={"status": status, "seq": 1})

    def end(self, task: str, url: str, status: str = "completed", digest: str | None = None) -> None:
        self.note("final_task", who="ann", task=task, url=url, mode="archive_download", status=status)
        if digest is not None:
            self.note("final_file", task=task, status=200, digest=digest)

    def quota(self, used: int) -> None:
        self.note("final_quota", who="ann", used=used)

    def broken(self) -> set[str]:
        return {promise for promise, count in summary(check(self.events)).items() if count}

    def _add(self, kind: str, number: int, what: str, **detail: Any) -> None:
        self.events.append({"at": float(next(self._time)), "kind": kind, "op": number, "what": what, **detail})


@pytest.fixture
def told() -> Told:
    """Up to the moment when the faults are healed."""
    story = Told()
    story.submit("k1", "t1", "http://o/1")
    story.read("t1", "running")
    story.read("t1", "completed")
    story.fetch("t1", A)
    return story


def finish(told: Told) -> None:
    told.end("t1", "http://o/1", digest=A)
    told.quota(1)


def test_an_honest_history_is_clean(told: Told) -> None:
    told.submit("k1", "t1", "http://o/1")  # the same key again: the same task
    told.call("submit", key="k2", url="http://o/2", ending="info")  # nobody knows, and it never happened
    finish(told)
    assert told.broken() == set()


def test_an_unanswered_request_that_happened_is_accepted(told: Told) -> None:
    told.call("submit", key="k2", url="http://o/2", ending="info")
    finish(told)
    told.events = [event for event in told.events if event["what"] != "final_quota"]
    told.end("t2", "http://o/2", digest=B)
    told.quota(2)
    assert told.broken() == set()


def test_a_task_that_is_gone_is_lost(told: Told) -> None:
    told.submit("k2", "t2", "http://o/2")
    finish(told)
    assert told.broken() == {"lost"}


def test_a_task_that_is_unknown_for_a_moment_is_lost(told: Told) -> None:
    told.note("missing", task="t1")
    finish(told)
    assert told.broken() == {"lost"}


@pytest.mark.parametrize("status", ["queued", "running", "retry", "paused"])
def test_a_task_that_never_ends_is_lost(told: Told, status: str) -> None:
    told.submit("k2", "t2", "http://o/2")
    told.end("t2", "http://o/2", status)
    finish(told)
    assert told.broken() == {"lost"}


@pytest.mark.parametrize("status", [404, 500])
def test_a_completed_task_without_its_file_is_lost(told: Told, status: int) -> None:
    told.end("t1", "http://o/1")
    told.note("final_file", task="t1", status=status, digest=A)
    told.quota(1)
    assert told.broken() == {"lost"}


def test_two_tasks_for_one_key_are_doubled(told: Told) -> None:
    told.submit("k1", "t9", "http://o/1")
    finish(told)
    told.events = [event for event in told.events if event["what"] != "final_quota"]
    told.end("t9", "http://o/1", digest=A)
    told.quota(2)
    assert told.broken() == {"doubled"}


def test_a_second_task_that_no_answer_named_is_doubled(told: Told) -> None:
    finish(told)
    told.end("t9", "http://o/1", "cancelled")
    assert told.broken() == {"doubled"}


def test_a_task_that_nobody_asked_for_is_doubled(told: Told) -> None:
    finish(told)
    told.end("t9", "http://o/2", "cancelled")
    assert told.broken() == {"doubled"}


def test_wrong_bytes_are_corrupt_whoever_sees_them(told: Told) -> None:
    finish(told)
    told.fetch("t1", B)
    assert told.broken() == {"corrupt"}


def test_a_wrong_file_at_the_end_is_corrupt(told: Told) -> None:
    told.end("t1", "http://o/1", digest=B)
    told.quota(1)
    assert told.broken() == {"corrupt"}


def test_half_a_file_on_the_disk_is_corrupt(told: Told) -> None:
    told.note("on_disk", path="archive/1/a.mp4", digest="c" * 64)
    finish(told)
    assert told.broken() == {"corrupt"}


def test_a_file_served_before_its_task_was_completed_is_early(told: Told) -> None:
    told.submit("k2", "t2", "http://o/2")
    told.fetch("t2", B)
    told.read("t2", "running")
    told.end("t2", "http://o/2", digest=B)
    told.end("t1", "http://o/1", digest=A)
    told.quota(2)
    assert told.broken() == {"early"}


def test_a_file_served_of_a_task_that_failed_is_early(told: Told) -> None:
    told.submit("k2", "t2", "http://o/2")
    told.fetch("t2", B)
    told.end("t2", "http://o/2", "failed")
    finish(told)
    assert told.broken() == {"early"}


def test_a_cancelled_task_that_completes_breaks_the_cancel(told: Told) -> None:
    told.submit("k2", "t2", "http://o/2")
    told.call("cancel", task="t2", answer={"status": "running"})
    told.end("t2", "http://o/2", digest=B)
    told.end("t1", "http://o/1", digest=A)
    told.quota(2)
    assert told.broken() == {"cancel"}


@pytest.mark.parametrize("ending", ["ok", "info"])
def test_a_retry_after_the_cancel_may_complete(told: Told, ending: str) -> None:
    told.submit("k2", "t2", "http://o/2")
    told.call("cancel", task="t2", answer={"status": "cancelled"})
    told.call("retry", task="t2", ending=ending, answer={"status": "queued"})
    told.end("t2", "http://o/2", digest=B)
    told.end("t1", "http://o/1", digest=A)
    told.quota(2)
    assert told.broken() == set()


def test_a_cancel_nobody_answered_binds_nobody(told: Told) -> None:
    told.call("cancel", task="t1", ending="info")
    finish(told)
    assert told.broken() == set()


def test_a_completed_task_that_goes_back_breaks_its_end(told: Told) -> None:
    told.read("t1", "queued")
    finish(told)
    assert told.broken() >= {"final"}


@pytest.mark.parametrize("seqs", [[1, 2, 2], [5, 4]])
def test_a_sequence_that_does_not_rise_is_found(told: Told, seqs: list[int]) -> None:
    for seq in seqs:
        told.note("frame", connection="c1", task="t1", seq=seq, phase="downloading")
    told.note("frame", connection="c2", task="t1", seq=1, phase="downloading")  # a new connection starts afresh
    finish(told)
    assert told.broken() == {"sequence"}


def test_a_new_connection_that_is_told_another_ending_is_found(told: Told) -> None:
    told.note("final_frame", task="t1", phase="finalizing", seq=1)
    finish(told)
    assert told.broken() == {"sequence"}


@pytest.mark.parametrize("used", [0, 2])
def test_a_quota_that_does_not_add_up_is_found(told: Told, used: int) -> None:
    told.end("t1", "http://o/1", digest=A)
    told.quota(used)
    assert told.broken() == {"quota"}


def test_a_refund_is_expected_for_what_failed(told: Told) -> None:
    told.submit("k2", "t2", "http://o/2")
    told.end("t2", "http://o/2", "failed")
    told.end("t1", "http://o/1", digest=A)
    told.quota(2)
    assert told.broken() == {"quota"}


def test_what_the_doctor_says_and_a_role_that_fell_over_are_found(told: Told) -> None:
    told.note("doctor", code=1, findings=[{"message": "wrong    counter"}])
    told.note("crash", role="gateway", code=-11, words="")
    finish(told)
    assert told.broken() == {"doctor", "crash"}
