"""The table of promises in ``docs/fault-campaign.md`` names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`([\w/]+\.(?:py|rs))::(\w+)`", (ROOT / "docs" / "fault-campaign.md").read_text())
PROMISES = {f"P{number}" for number in (1, 2, 3, 4, 5, 6, 13, 15, 18, 25, 26, 27, 28)}


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_a_promise_names_a_test_that_exists(file: str, name: str) -> None:
    assert re.search(rf"\b(def|fn) {name}\b", (ROOT / file).read_text())


def test_every_promise_has_a_test() -> None:
    rows = re.findall(r"^\| (P\d+) \|.*::.*\|$", (ROOT / "docs" / "fault-campaign.md").read_text(), re.MULTILINE)
    assert set(rows) == PROMISES
