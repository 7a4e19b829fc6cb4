"""A lint of deploy/Dockerfile: pinned, small, without root, and nothing that comes from an unchecked address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def instructions(deploy: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) with continued lines joined and comments dropped."""
    lines = [line for line in (deploy / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for line in joined.splitlines() if line.strip() for word, _, rest in [line.partition(" ")]]


def having(instructions: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for name, rest in instructions if name == word]


def test_base_images_are_pinned_to_a_patch_release(instructions: list[tuple[str, str]]) -> None:
    arguments = dict(rest.split("=", 1) for rest in having(instructions, "ARG"))
    for rest in having(instructions, "FROM"):
        image = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], rest.split()[0])
        assert re.search(r":\d+\.\d+\.\d+-slim-bookworm$", image), image
    assert all("latest" not in rest for _, rest in instructions)


def test_it_has_three_stages_and_the_last_one_builds_nothing(instructions: list[tuple[str, str]]) -> None:
    stages = [rest.split(" AS ")[1] for rest in having(instructions, "FROM")]
    assert stages == ["wheel", "environment", "runtime"]
    last = instructions[max(index for index, (word, _) in enumerate(instructions) if word == "FROM") :]
    for word, rest in last:
        if word == "RUN":
            assert not re.search(r"\b(pip|cargo|maturin|gcc|make|curl|wget|git)\b", rest), rest
    assert ("COPY", "--from=environment /opt/vasset /opt/vasset") in last


def test_packages_are_installed_without_extras_and_the_lists_removed(instructions: list[tuple[str, str]]) -> None:
    for rest in having(instructions, "RUN"):
        if "apt-get install" in rest:
            assert "apt-get update" in rest
            assert "--no-install-recommends" in rest
            assert "rm -rf /var/lib/apt/lists/*" in rest
            assert "apt-get upgrade" not in rest


def test_nothing_is_added_from_an_address(instructions: list[tuple[str, str]]) -> None:
    assert not having(instructions, "ADD")
    assert all("://" not in rest for word, rest in instructions if word in {"COPY", "RUN"})


def test_it_runs_as_nobody_in_particular(instructions: list[tuple[str, str]]) -> None:
    assert having(instructions, "USER") == ["10001:10001"]
    words = [word for word, _ in instructions]
    after_user = words[words.index("USER") :]
    assert "RUN" not in after_user
    assert "COPY" not in after_user
    assert all("sudo" not in rest and "chmod 777" not in rest for _, rest in instructions)


def test_signals_reach_the_server_and_its_health_is_asked(instructions: list[tuple[str, str]]) -> None:
    assert having(instructions, "ENTRYPOINT") == ['["tini", "--", "vasset"]']
    assert having(instructions, "CMD")[-1].startswith('["serve"')
    [check] = having(instructions, "HEALTHCHECK")
    assert "/healthz" in check


def test_no_secret_is_baked_in(instructions: list[tuple[str, str]]) -> None:
    for word, rest in instructions:
        if word in {"ENV", "ARG", "LABEL"}:
            assert not re.search(r"(?i)(password|token|secret|_key)\b", rest), rest


def test_the_context_holds_what_is_copied_and_nothing_that_is_private(deploy: Path) -> None:
    allowed = [
        line[1:] for line in (deploy / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert (deploy / "Dockerfile.dockerignore").read_text().splitlines()[1] == "*"
    for name in allowed:
        assert (deploy.parent / name).exists(), name
    assert not {".git", ".venv", "data", "deploy/compose.env"} & set(allowed)
