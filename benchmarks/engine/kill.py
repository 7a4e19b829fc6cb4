"""``kill -9`` at random moments: runs the engine's own campaign and keeps its figures in ``results/engine-kill.json``.

    python -m benchmarks.engine.kill [--kills 200]

The campaign is ``engine/tests/kill.rs``: a process that downloads 96 MiB over four connections is killed up to eight times on
the way, started again each time, and its file compared. It fails when a byte differs or more than 16 MiB are fetched again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.engine import record
from benchmarks.platform.record import Figure

MEBIBYTE = 1 << 20
CARGO = [
    "cargo",
    "test",
    "--release",
    "-p",
    "vasset-engine",
    "--features",
    "faultpoints",
    "--test",
    "kill",
    "--",
    "--nocapture",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    where = record.circumstances()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        wanted = {"KILLS": str(options.kills), "KILL_REPORT": str(report)}
        ended = subprocess.run(CARGO, env={**os.environ, **wanted}, check=False)
        if ended.returncode != 0:
            return ended.returncode
        kills = [tuple(map(int, line.split())) for line in report.read_text().splitlines()]
    again = sorted(max(0, on_disk - believed) / MEBIBYTE for on_disk, believed in kills)
    figures = [
        Figure("kills, every file equal afterwards", "", (float(len(kills)),)),
        Figure("fetched again after a kill", "MiB", tuple(again)),
        Figure("fetched again after a kill: most of all", "MiB", (again[-1],), 16.0),
    ]
    for figure in figures:
        print(figure.line())
    record.save_campaign("kill", figures, f"make kill KILLS={options.kills}", where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
