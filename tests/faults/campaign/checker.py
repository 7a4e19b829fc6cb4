"""Decides from a history alone whether the promises were kept. Pure: the same file gives the same verdict.

An ``info`` ending may have happened or not, and either is accepted; twice is not. What a task finally became is in the notes that
the campaign leaves once all faults are healed (``final_task``, ``final_file``, ``final_quota``, ``final_frame``, ``doctor``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.campaign.history import Event

TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Violation:
    """``promise`` is one word: lost, doubled, corrupt, early, cancel, final, sequence, quota, doctor, crash."""

    promise: str
    subject: str
    words: str


@dataclass(slots=True)
class Verdict:
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        return not self.violations


def check(events: Sequence[Event]) -> Verdict:
    verdict = Verdict()
    story = _Story(events)
    for judge in (_lost, _doubled, _corrupt, _early, _cancel, _final, _sequence, _quota, _told):
        verdict.violations += judge(story)
    verdict.counts.update(f"{event['kind']} {event['what']}" for event in events)
    return verdict


class _Story:
    """The events by what they are about, with each ending beside its invocation."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.notes: dict[str, list[Event]] = defaultdict(list)
        self.pairs: dict[str, list[tuple[Event, Event | None]]] = defaultdict(list)
        endings = {event["op"]: event for event in events if event["kind"] in {"ok", "fail", "info"}}
        for event in events:
            if event["kind"] == "note":
                self.notes[event["what"]].append(event)
            elif event["kind"] == "invoke":
                self.pairs[event["what"]].append((event, endings.get(event["op"])))
        self.final = {note["task"]: note for note in self.notes["final_task"]}
        self.bodies = {note["url"]: frozenset(note["digests"]) for note in self.notes["body"]}
        self.all_digests = _union(self.bodies.values())
        self.url_of = {note["task"]: note["url"] for note in self.notes["final_task"]}
        for asked, answer in self.pairs["submit"]:
            if answer is not None and answer["kind"] == "ok":
                self.url_of.setdefault(answer["task"], asked["url"])

    def done(self, what: str) -> Iterator[tuple[Event, Event]]:
        for asked, answer in self.pairs[what]:
            if answer is not None and answer["kind"] == "ok":
                yield asked, answer

    def digests_of(self, task: str) -> frozenset[str]:
        """What the file of this task may be; empty when any digest is right (nobody knows it beforehand)."""
        return self.bodies.get(self.url_of.get(task, ""), frozenset())

    def retried_after(self, task: str, at: float) -> bool:
        """Whether a retry of ``task`` may have happened at or after ``at``."""
        return any(
            asked["task"] == task and (answer is None or answer["kind"] != "fail") and _end_of(answer) >= at
            for asked, answer in self.pairs["retry"]
        )


def _union(digests: Iterable[frozenset[str]]) -> frozenset[str]:
    """Of all acceptable contents; empty when some content is not known beforehand."""
    known = list(digests)
    return frozenset().union(*known) if all(known) else frozenset()


def _end_of(answer: Event | None) -> float:
    """An operation without a known ending may take effect at any time."""
    return float("inf") if answer is None or answer["kind"] == "info" else float(answer["at"])


def _lost(story: _Story) -> Iterator[Violation]:
    for asked, answer in story.done("submit"):
        final = story.final.get(answer["task"])
        if final is None:
            yield Violation("lost", answer["task"], f"accepted for key {asked['key']}, and no such task at the end")
    for note in story.notes["missing"]:
        yield Violation("lost", note["task"], "was accepted, and asking for it answered 404")
    for task, final in story.final.items():
        if final["status"] not in TERMINAL:
            yield Violation("lost", task, f"still {final['status']} when every bound had passed")


def _doubled(story: _Story) -> Iterator[Violation]:
    by_key: dict[tuple[str, str], set[str]] = defaultdict(set)
    for asked, answer in story.done("submit"):
        by_key[asked["who"], asked["key"]].add(answer["task"])
    for (who, key), tasks in by_key.items():
        if len(tasks) > 1:
            yield Violation("doubled", key, f"{who} was answered {len(tasks)} tasks for one key")
    asked_for = Counter(note["url"] for note in story.final.values())
    submitted = {asked["url"] for asked, _ in story.pairs["submit"]}
    for url, count in asked_for.items():  # every key asks for a URL of its own
        if count > 1:
            yield Violation("doubled", url, f"{count} tasks for one key")
        if url not in submitted:
            yield Violation("doubled", url, "a task that nobody submitted")


def _corrupt(story: _Story) -> Iterator[Violation]:
    for asked, answer in story.done("fetch"):
        right = story.digests_of(asked["task"])
        if right and answer["digest"] not in right:
            yield Violation("corrupt", asked["task"], f"{answer['size']} bytes were served that are not the origin's")
    for note in story.notes["on_disk"]:  # its name does not say whose it is: it must be one of the origin's files
        if story.all_digests and note["digest"] not in story.all_digests:
            yield Violation("corrupt", note["path"], "was visible on disk and is no file of the origin's")
    found = {note["task"]: note for note in story.notes["final_file"]}
    for task, final in story.final.items():
        if final["status"] != "completed" or final["mode"] != "archive_download":
            continue
        file = found.get(task)
        if file is None or file["status"] != 200:
            said = "nothing" if file is None else file["status"]
            yield Violation("lost", task, f"completed, and asking for its file answers {said}")
        elif (right := story.digests_of(task)) and file["digest"] not in right:
            yield Violation("corrupt", task, "its file is not the origin's")


def _early(story: _Story) -> Iterator[Violation]:
    """A file may be served only once its task is completed, which it then stays."""
    served: dict[str, float] = {}
    for asked, answer in story.done("fetch"):
        served[asked["task"]] = min(answer["at"], served.get(asked["task"], float("inf")))
    for asked, answer in story.done("read"):
        if answer["status"] != "completed" and served.get(asked["task"], float("inf")) < asked["at"]:
            yield Violation("early", asked["task"], f"its file was served before, yet it is {answer['status']}")
    for task in served:
        final = story.final.get(task)
        if final is not None and final["status"] != "completed":
            yield Violation("early", task, f"its file was served, yet it ended {final['status']}")


def _cancel(story: _Story) -> Iterator[Violation]:
    for asked, answer in story.done("cancel"):
        task = asked["task"]
        if story.retried_after(task, asked["at"]):
            continue
        final = story.final.get(task)
        if final is not None and final["status"] != "cancelled":
            yield Violation("cancel", task, f"the cancel was answered, and it ended {final['status']}")
        for fetch, _ in story.done("fetch"):
            if fetch["task"] == task and fetch["at"] > answer["at"]:
                yield Violation("cancel", task, "its file was served after the cancel was answered")


def _final(story: _Story) -> Iterator[Violation]:
    ended: dict[str, list[tuple[float, str]]] = defaultdict(list)
    reads = sorted(story.done("read"), key=lambda pair: pair[0]["at"])
    for asked, answer in reads:
        for at, status in ended[asked["task"]]:
            changed = at < asked["at"] and status != answer["status"]
            if changed and (status == "completed" or not story.retried_after(asked["task"], 0)):
                words = f"was {status} and later {answer['status']}"
                yield Violation("final", asked["task"], words)
        if answer["status"] in TERMINAL:
            ended[asked["task"]] = [(answer["at"], answer["status"])]


def _sequence(story: _Story) -> Iterator[Violation]:
    """Within one connection ``seq`` rises strictly, and the snapshot is where it starts."""
    last: dict[tuple[str, str], int] = {}
    for note in story.notes["frame"]:
        key = (note["connection"], note["task"])
        if note["seq"] <= last.get(key, -1):
            yield Violation("sequence", note["task"], f"seq {note['seq']} after {last[key]} on one connection")
        last[key] = note["seq"]
    for note in story.notes["final_frame"]:
        final = story.final.get(note["task"])
        if final is not None and note["phase"] != final["status"]:
            words = f"a new connection is told {note['phase']}, the row says {final['status']}"
            yield Violation("sequence", note["task"], words)


def _quota(story: _Story) -> Iterator[Violation]:
    """A debit stands for each completed task and for nothing else: failed and cancelled ones were given back, once."""
    completed: Counter[str] = Counter()
    for final in story.final.values():
        completed[final["who"]] += final["status"] == "completed"
    for note in story.notes["final_quota"]:
        if note["used"] != completed[note["who"]]:
            words = f"{note['used']} units are used, {completed[note['who']]} downloads completed"
            yield Violation("quota", note["who"], words)


def _told(story: _Story) -> Iterator[Violation]:
    for note in story.notes["doctor"]:
        for finding in note["findings"]:
            yield Violation("doctor", str(finding.get("subject", "")), str(finding.get("message", finding)))
    for note in story.notes["crash"]:
        yield Violation("crash", note["role"], f"ended by itself with {note['code']}: {note['words']}")


def summary(verdict: Verdict) -> dict[str, Any]:
    """Violations by promise: a zero is written too, for it is what is claimed."""
    found = Counter(violation.promise for violation in verdict.violations)
    promises = ("lost", "doubled", "corrupt", "early", "cancel", "final", "sequence", "quota", "doctor", "crash")
    return {promise: found[promise] for promise in promises}
