"""Where the deployment files are."""

from __future__ import annotations

from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def top() -> Path:
    return TOP


@pytest.fixture(scope="session")
def deploy(top: Path) -> Path:
    return top / "deploy"
