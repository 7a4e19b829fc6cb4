"""A place kills its process at the chosen passing, only when it was asked for, and never in production."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from pydantic import ValidationError

from vasset.config import Settings

PASSES = """
from vasset.telemetry import faultpoint
faultpoint.arm({kill_at!r})
for number in range(3):
    faultpoint.reach("K4")
    faultpoint.reach("K5")
    print(number, flush=True)
faultpoint.begin("K16", within_seconds=0.01)
import time
time.sleep({seconds})
"""


def run(kill_at: str | None, seconds: float = 0) -> tuple[int, str]:
    program = PASSES.format(kill_at=kill_at, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout


def test_nothing_is_armed_by_default() -> None:
    assert run(None)[0] == 0
    assert Settings().kill_at is None


@pytest.mark.parametrize(("kill_at", "passed"), [("K5", "0"), ("K5:1", "0"), ("K5:3", "2"), ("K4:2", "1")])
def test_dies_at_the_chosen_passing(kill_at: str, passed: str) -> None:
    code, said = run(kill_at)
    assert code == -signal.SIGKILL
    assert len([word for word in said.split() if word.isdigit()]) == int(passed)


def test_a_place_that_is_not_passed_kills_nobody() -> None:
    assert run("K5:4")[0] == 0


def test_begin_dies_during_what_follows() -> None:
    assert run("K16", seconds=20)[0] == -signal.SIGKILL


def test_whoever_is_armed_says_so() -> None:
    assert "will kill itself" in run("K7:5")[1]


@pytest.mark.parametrize("wrong", ["K17", "K0", "K5:0", "5", "K5:", "K5:x", ""])
def test_a_wrong_place_is_refused_in_words(wrong: str) -> None:
    with pytest.raises(ValidationError, match="kill_at"):
        Settings(kill_at=wrong)


def test_production_refuses_to_start_armed() -> None:
    with pytest.raises(ValidationError, match="unset VASSET_KILL_AT"):
        Settings(environment="production", kill_at="K5")
