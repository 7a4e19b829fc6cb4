"""Whatever a user does, in whatever order, the real API stays within the model: states, quota, history, files, frames (P2, P11, P13, P18).

Hypothesis makes up what the user does; the workers race with it. Short by default; ``LIFECYCLE_EXAMPLES`` and ``LIFECYCLE_STEPS`` make it
long, ``LIFECYCLE_SEED`` replays a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule, run_state_machine_as_test

from tests.lifecycle.stage import DAILY_LIMIT, LiveStage, SignedIn, live_stage
from tests.support.deployments import MakeDeployment
from tests.support.lifecycle_model import KnownTask, Site, UserModel, check_frames
from tests.support.media import Media, make_media
from vasset.domain.download import TERMINAL, TaskStatus

EXAMPLES = int(os.environ.get("LIFECYCLE_EXAMPLES", "5"))
STEPS = int(os.environ.get("LIFECYCLE_STEPS", "14"))
SEED = int(os.environ.get("LIFECYCLE_SEED") or random.SystemRandom().randrange(2**32))

SITES: st.SearchStrategy[Site] = st.sampled_from(["stalls", "succeeds", "fails", "stalls", "recovers"])


class Lifecycle(RuleBasedStateMachine):
    """One user; each rule is one thing they may do."""

    stage: LiveStage
    tasks = Bundle("tasks")

    @initialize()
    def sign_up(self) -> None:
        self.user: SignedIn = self.stage.sign_up()
        self.model = UserModel(DAILY_LIMIT)

    # --- starting ---

    @rule(target=tasks, site=SITES, key=st.none() | st.sampled_from(["first", "second"]))
    def submit(self, site: Site, key: str | None) -> Any:
        if key is not None and key in self.model.keys:
            return self._submit_again(key, site)
        path = self.stage.new_site(site)
        self._look()
        answer = self.user.call("POST", "/download", json=self._body(path), key=key)
        self.model.may_start(answer.status == 202)
        if answer.status != 202:
            assert (answer.status, answer.json["reason"]) == (429, "quota_exceeded"), answer.json
            assert int(answer.headers["Retry-After"]) > 0
            return multiple()
        task = KnownTask(answer.data["task_id"], answer.data["history_id"], path, site)
        self.model.tasks.append(task)
        if key is not None:
            self.model.keys[key] = (task, path)
        return task

    def _submit_again(self, key: str, site: Site) -> Any:
        """The same request is the same task; the same key with another body is refused."""
        task, path = self.model.keys[key]
        again = self.user.call("POST", "/download", json=self._body(path), key=key)
        assert (again.status, again.data["task_id"]) == (202, task.task_id)
        other = self.user.call("POST", "/download", json=self._body(self.stage.new_site(site)), key=key)
        assert (other.status, other.json["code"]) == (422, 42204), other.json
        return multiple()

    def _body(self, path: str) -> dict[str, str]:
        return {"url": self.stage.origin.url(path), "format": "original"}

    # --- steering ---

    @rule(task=tasks)
    def cancel(self, task: KnownTask) -> None:
        before, answer = task.status, self._steer(task, "cancel")
        if task.deleted:
            return
        if answer.status == 200:
            task.wish = "cancel"
            self._observe(task, answer.data)
        else:
            self._refused(task, answer, before, TaskStatus.COMPLETED, TaskStatus.FAILED)

    @rule(task=tasks)
    def pause(self, task: KnownTask) -> None:
        answer = self._steer(task, "pause")
        if task.deleted:
            return
        if answer.status == 200:
            task.wish = "pause"
            self._observe(task, answer.data)
        else:
            self._refused(task, answer, task.status, *TERMINAL)

    @rule(task=tasks)
    def resume(self, task: KnownTask) -> None:
        answer = self._steer(task, "resume")
        if task.deleted:
            return
        if answer.status == 200:
            self._restarted(task, answer.data, TaskStatus.PAUSED)
        else:
            self._refused(task, answer, task.status, *TERMINAL)

    @rule(task=tasks)
    def retry(self, task: KnownTask) -> None:
        self._look()
        was_charged = task.charged()[0]
        answer = self._steer(task, "retry")
        if task.deleted:
            return
        if answer.status == 200:
            if task.status in {TaskStatus.FAILED, TaskStatus.CANCELLED} or not was_charged:
                self.model.may_start(accepted=True)
            self._restarted(task, answer.data, TaskStatus.FAILED, TaskStatus.CANCELLED)
        elif answer.status == 429:
            self.model.may_start(accepted=False)
        else:
            self._refused(task, answer, task.status, TaskStatus.COMPLETED)

    @rule(task=tasks)
    def keep(self, task: KnownTask) -> None:
        answer = self._steer(task, "keep")
        if task.deleted:
            return
        if answer.status == 200:
            self._observe(task, answer.data)
            assert (task.status, answer.data["mode"]) == (TaskStatus.COMPLETED, "archive_download")
            task.kept = True
        else:
            assert (answer.status, answer.json["code"]) == (409, 40904), answer.json
            assert task.status is not TaskStatus.COMPLETED

    @rule(task=tasks)
    def delete(self, task: KnownTask) -> None:
        answer = self.user.call("DELETE", f"/history/{task.history_id}")
        if task.deleted:
            assert answer.status == 404
        elif answer.status == 200:
            self._settle_by_deletion(task)
        else:
            assert (answer.status, answer.json["code"]) == (409, 40904), answer.json
            assert task.status not in TERMINAL, "a finished download could not be deleted"

    # --- the site ---

    @rule(task=tasks)
    def let_the_site_go_on(self, task: KnownTask) -> None:
        self.stage.release(task.path)
        task.released = True

    @rule(task=tasks)
    def repair_the_site(self, task: KnownTask) -> None:
        """From now on a retry succeeds; a run under way may see either."""
        if task.site == "fails":
            self.stage.repair(task.path)
            task.site, task.released = "stalls", True  # either way may end well or badly

    # --- looking ---

    @rule(task=tasks)
    def fetch(self, task: KnownTask) -> None:
        was = task.status
        answer = self.user.call("GET", "/download/file", params={"history_id": task.history_id})
        if answer.status == 200:
            assert answer.body == self.stage.body, "not the site's bytes"
            assert not task.deleted
            if task.status is not TaskStatus.COMPLETED:
                task.observe("completed")
        else:
            assert answer.status == 404, answer.json
            assert task.deleted or was is not TaskStatus.COMPLETED, "a completed download has no file"

    @rule()
    def settle(self) -> None:
        """Wait until every task that can rest does, then compare everything."""
        for task in self.model.visible():
            if task.will_rest and not task.is_at_rest:
                self._observe(task, self.user.wait_for(task.task_id, lambda found: found["status"] in RESTING))
        self._look()
        least, most = self.model.charged()
        quota = self.user.call("GET", "/quota").data
        untold = sum(
            task.deleted and not task.is_at_rest for task in self.model.tasks
        )  # deleted before anybody saw the end
        assert most - least <= untold
        assert least <= quota["daily_used"] <= most, (least, most, quota)
        assert quota["remaining"] == max(0, DAILY_LIMIT - quota["daily_used"])
        history = {entry["task_id"]: entry for entry in self.user.listing("/history")}
        visible = {task.task_id: task for task in self.model.visible()}
        assert set(history) == set(visible)
        for task_id, entry in history.items():
            task = visible[task_id]
            if task.is_at_rest:
                assert entry["status"] == task.status
                assert entry["has_file"] == (task.status is TaskStatus.COMPLETED)
                assert (entry["expire_at"] is None) or not task.kept
        self._compare_frames([task for task in visible.values() if task.is_at_rest])

    def teardown(self) -> None:
        if hasattr(self, "user"):
            try:
                for task in self.model.tasks:
                    self.stage.release(task.path)
                    task.released = True
                self.settle()
            finally:
                self.user.close()

    # --- what the rules share ---

    def _steer(self, task: KnownTask, verb: str) -> Any:
        answer = self.user.call("POST", f"/downloads/{task.task_id}/{verb}")
        if task.deleted:
            assert answer.status == 404, answer.json
        return answer

    def _refused(self, task: KnownTask, answer: Any, before: TaskStatus, *expected: TaskStatus) -> None:
        """409 in words: the task has ended like that, or a cancel is on its way."""
        assert (answer.status, answer.json["code"]) == (409, 40904), answer.json
        pending = task.wish == "cancel"
        self._observe(task, self.user.task(task.task_id))
        assert pending or task.status in expected, (before, task, answer.json)

    def _restarted(self, task: KnownTask, found: dict[str, Any], *rested: TaskStatus) -> None:
        """An accepted resume or retry: a task that rested is queued again; one under way goes on."""
        assert task.wish != "cancel" or found["status"] == "queued", "a task that is being cancelled was started again"
        if task.wish == "pause" and task.status not in TERMINAL:
            task.was_stopping = found["status"] == "running"
            task.status = TaskStatus.QUEUED if found["status"] == "queued" else TaskStatus(found["status"])
        elif task.wish == "cancel" or task.status in rested:
            task.status = TaskStatus.QUEUED
        elif task.status not in rested and not task.is_at_rest and found["status"] == "queued":
            task.status = TaskStatus.QUEUED  # it came to rest unseen, and was started again
        task.wish = "go on"
        self._observe(task, found)

    def _settle_by_deletion(self, task: KnownTask) -> None:
        """Only what has ended can be deleted; how it ended is not told any more, so the quota tells."""
        if task.status not in TERMINAL:
            assert task.will_rest, "an unfinished download was deleted"
            reached = [status for status in TERMINAL if status in task._reachable()]
            others = self.model.charged()
            used = self.user.call("GET", "/quota").data["daily_used"]
            if len(reached) == 1:
                task.observe(reached[0])
            elif others[1] - others[0] == 1:
                task.status = TaskStatus.COMPLETED if used == others[1] else TaskStatus.FAILED
        task.deleted = True

    def _look(self) -> None:
        """One listing, like the page does it."""
        found = {task["task_id"]: task for task in self.user.listing("/downloads")}
        visible = {task.task_id: task for task in self.model.visible()}
        assert set(found) == set(visible)
        for task_id, task in visible.items():
            self._observe(task, found[task_id])

    def _observe(self, task: KnownTask, found: dict[str, Any]) -> None:
        try:
            task.observe(found["status"])
        except AssertionError as error:
            raise AssertionError(f"{error}; what its user did:\n" + "\n".join(self.user.calls)) from None

    def _compare_frames(self, rested: list[KnownTask]) -> None:
        for task in rested:
            polled = self.user.task(task.task_id)
            frames = self.user.frames_until(task.task_id, polled["seq"])
            check_frames(task.task_id, frames)
            assert (frames[-1].seq, frames[-1].phase) == (polled["seq"], polled["phase"]), "polling and socket disagree"


RESTING = {status.value for status in TERMINAL} | {"paused"}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    base = tmp_path_factory.getbasetemp()
    return make_media(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="module")
def stage(
    make_deployment: MakeDeployment, media: Media, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveStage]:
    with live_stage(make_deployment(tmp_path_factory.mktemp("lifecycle")), media.read("progressive.mp4")) as running:
        yield running


@pytest.mark.campaign
@pytest.mark.timeout(60 + EXAMPLES * STEPS * 5)
def test_the_api_stays_within_the_model(stage: LiveStage) -> None:
    print(f"LIFECYCLE_SEED={SEED} LIFECYCLE_EXAMPLES={EXAMPLES} LIFECYCLE_STEPS={STEPS}")
    machine = seed(SEED)(type("Lifecycle", (Lifecycle,), {"stage": stage}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            phases=[
                Phase.generate
            ],  # workers race with the user: a second run is another story, so nothing can be shrunk
            suppress_health_check=list(HealthCheck),
        ),
    )
