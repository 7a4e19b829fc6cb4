"""The fault campaign's short form, over both deployments; ``make chaos`` runs the long one (docs/fault-campaign.md)."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

from tests.faults.campaign.campaign import Wanted, run
from tests.support.server_folder import server_folder

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.xdist_group("campaign"),
    pytest.mark.timeout(400),
    # Killed servers leave half-closed sockets to the collector; what they did to the product is the checker's business.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FORMS = [
    pytest.param("embedded", 100, 35.0, id="embedded"),
    pytest.param("distributed", 150, 45.0, id="distributed", marks=pytest.mark.servers),
]


@pytest.mark.parametrize(("deployment", "tasks", "seconds"), FORMS)
async def test_nothing_is_lost_doubled_corrupt_or_early_under_faults(
    deployment: str, tasks: int, seconds: float, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))
    engine = Path(os.environ["CHAOS_ENGINE"]) if os.environ.get("CHAOS_ENGINE") else None
    with server_folder("chaos") as folder:
        result = await run(Wanted(deployment, seed, tasks, seconds, engine=engine), folder)
    with capsys.disabled():
        print(f"\n{result.line()}")
    broken = "\n".join(f"{one.promise}: {one.subject}: {one.words}" for one in result.verdict.violations[:20])
    assert result.verdict.is_clean, f"again with CHAOS_SEED={seed}:\n{broken}"
    assert result.figures["kills"]["total"] > 0, "nobody was killed: the campaign proved nothing"
    assert result.figures["tasks"]["completed"] > 0
