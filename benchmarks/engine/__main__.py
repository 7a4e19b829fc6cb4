"""``python -m benchmarks.engine [--quick] [--repetitions N]``: the engine beside its peers, into ``results/engine.json``.

``--quick`` takes less than two minutes, writes nothing and ends with 1 when a ratio is above its limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.ballast import MEMORY, backed_memory
from benchmarks.engine import quick, record
from benchmarks.engine.origin import running_origin
from benchmarks.engine.peers import REPOSITORY
from benchmarks.engine.scenarios import measure, scenarios

CACHE = REPOSITORY / ".cache"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small files beside curl; fails on a ratio")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", metavar="TEXT", help="scenarios whose name contains it; the others' figures are kept")
    options = parser.parse_args()
    where = record.started()
    tools = ", ".join(f"{name} ({version})" for name, version in where["packages"].items())
    print(f"{where['cpu']}, {where['cores']} cores, {where['system']}, load {where['load_before']:.2f}\n{tools}")
    CACHE.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="vasset-bench-", dir=MEMORY if MEMORY.is_dir() else None) as folder,
        tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as disk,
        backed_memory(2048 if options.quick else 5120),
        running_origin(Path(folder)) as origin,
    ):
        if options.quick:
            return quick.run(origin)
        if options.only is None:
            record.forget()
        for scenario in scenarios(origin, Path(disk)):
            if options.only is not None and options.only not in scenario.name:
                continue
            for peer in scenario.peers:
                print(f"$ {peer.shown(origin)}")
            found = record.figures(scenario, measure(origin, scenario, options.repetitions))
            for figure in found:
                print(figure.line(), flush=True)
            record.save(found, where, origin, scenario, options.repetitions)
    print(f"load at the end {os.getloadavg()[0]:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
