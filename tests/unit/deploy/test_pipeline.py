"""``.gitlab-ci.yml`` goes the way of REQUIREMENTS J3, and production waits for a person."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

KEYWORDS = {"stages", "default", "variables", "workflow"}
# Of GitLab's reference of the file: words of the top level, which no job may be called; and what a job may say.
RESERVED = {
    "image", "services", "stages", "before_script", "after_script", "variables", "cache", "include", "default", "workflow", "spec",
    "true", "false", "nil",
}  # fmt: skip
OF_A_JOB = {
    "after_script", "allow_failure", "artifacts", "before_script", "cache", "coverage", "dependencies", "environment", "extends",
    "hooks", "id_tokens", "image", "inherit", "interruptible", "needs", "pages", "parallel", "release", "resource_group", "retry",
    "rules", "run", "script", "secrets", "services", "stage", "start_in", "tags", "timeout", "trigger", "variables", "when",
}  # fmt: skip
OF_THE_DEFAULTS = {
    "after_script", "artifacts", "before_script", "cache", "hooks", "id_tokens", "image", "interruptible", "retry", "services",
    "tags", "timeout",
}  # fmt: skip


@pytest.fixture(scope="module")
def pipeline(top: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((top / ".gitlab-ci.yml").read_text())
    return document


@pytest.fixture(scope="module")
def jobs(pipeline: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Jobs with what they extend merged in, in the order of their stages."""
    found = {name: job for name, job in pipeline.items() if name not in KEYWORDS and not name.startswith(".")}
    merged = {name: {**pipeline.get(job.get("extends", ""), {}), **job} for name, job in found.items()}
    return dict(sorted(merged.items(), key=lambda item: pipeline["stages"].index(item[1]["stage"])))


def test_the_stages_follow_the_requirements(jobs: dict[str, dict[str, Any]]) -> None:
    order = list(jobs)
    wanted = ["unit-tests", "build-image", "push", "deploy-test", "integration-tests", "approve", "deploy-production"]
    assert [name for name in order if name in wanted] == wanted


def test_gitlab_accepts_the_names_and_words_of_every_job(pipeline: dict[str, Any]) -> None:
    """A job called ``image`` is the global image to GitLab, and the whole file is refused."""
    assert set(pipeline["default"]) <= OF_THE_DEFAULTS
    for name, job in pipeline.items():
        if name in KEYWORDS:
            continue
        assert name not in RESERVED, name
        assert isinstance(job, dict), name
        assert set(job) <= OF_A_JOB, name
        assert name.startswith(".") or isinstance(job.get("script") or pipeline[job["extends"]]["script"], list), name
        for rule in job.get("rules", []):
            assert set(rule) <= {"if", "when", "changes", "exists", "allow_failure", "variables", "needs"}, name


def test_what_a_job_needs_comes_before_it(pipeline: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> None:
    stages = pipeline["stages"]
    for name, job in jobs.items():
        for needed in job.get("needs", []):
            assert stages.index(jobs[needed]["stage"]) <= stages.index(job["stage"]), name


def test_every_stage_has_a_job(pipeline: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> None:
    assert {job["stage"] for job in jobs.values()} == set(pipeline["stages"])


def test_production_waits_for_a_person_who_cannot_be_skipped(jobs: dict[str, dict[str, Any]]) -> None:
    assert all(rule["when"] == "manual" for rule in jobs["approve"]["rules"])
    assert jobs["approve"]["allow_failure"] is False
    assert jobs["deploy-production"]["needs"] == ["approve"]
    assert jobs["deploy-production"]["environment"]["name"] == "production"


def test_what_is_not_merged_is_neither_pushed_nor_deployed(jobs: dict[str, dict[str, Any]]) -> None:
    for name in ("push", "deploy-test", "integration-tests", "deploy-staging", "approve", "deploy-production"):
        for rule in jobs[name]["rules"]:
            assert rule["if"] in {"$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", "$CI_COMMIT_TAG"}, name


def test_deployments_name_an_overlay_that_exists(jobs: dict[str, dict[str, Any]], deploy: Path) -> None:
    overlays = {job["variables"]["OVERLAY"] for job in jobs.values() if "OVERLAY" in job.get("variables", {})}
    assert overlays == {path.name for path in (deploy / "kubernetes" / "overlays").iterdir()}


def test_make_targets_exist(jobs: dict[str, dict[str, Any]], top: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (top / "Makefile").read_text(), re.MULTILINE))
    used = {
        target for job in jobs.values() for line in job["script"] for target in re.findall(r"\bmake ([a-z-]+)", line)
    }
    assert used == {"lint", "test", "load"}
    assert used <= targets


def test_images_are_pinned(pipeline: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> None:
    for name, job in jobs.items():
        for image in [job["image"], *job.get("services", [])]:
            assert re.search(r":\d+\.\d+", image), (name, image)


def test_no_secret_is_written_on_a_command_line(jobs: dict[str, dict[str, Any]]) -> None:
    for job in jobs.values():
        for line in job["script"]:
            assert not re.search(r"(?:--password|-p)[ =]", line), line
