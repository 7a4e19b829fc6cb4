"""``python -m benchmarks.engine [--quick] [--repetitions N]``: the engine beside its peers, into ``results/engine.json``.

``--quick`` takes less than 90 s on an idle machine, writes nothing and ends with 1 when a ratio to curl is above its limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.engine import record
from benchmarks.engine.origin import running_origin
from benchmarks.engine.scenarios import measure, scenarios

MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 MiB, three repetitions; fails on a ratio")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", metavar="TEXT", help="scenarios whose name contains it; the others' figures are kept")
    options = parser.parse_args()
    where = record.started()
    tools = ", ".join(f"{name} ({version})" for name, version in where["packages"].items())
    print(f"{where['cpu']}, {where['cores']} cores, {where['system']}, load {where['load_before']:.2f}\n{tools}")
    broken: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="vasset-bench-", dir=MEMORY if MEMORY.is_dir() else None) as folder,
        running_origin(Path(folder)) as origin,
    ):
        if not options.quick and options.only is None:
            record.forget()
        for scenario in scenarios(origin, quick=options.quick):
            if options.only is not None and options.only not in scenario.name:
                continue
            paced = "per connection" in scenario.name
            repetitions = (1 if paced else 3) if options.quick else options.repetitions
            for peer in scenario.peers:
                print(f"$ {peer.shown(origin)}")
            taken = measure(origin, scenario, repetitions)
            found = record.figures(scenario, taken)
            for figure in found:
                print(figure.line(), flush=True)
            broken += record.broken_limits(scenario, taken)
            if not options.quick:
                record.save(found, where, origin, scenario, repetitions)
    print(f"load at the end {os.getloadavg()[0]:.2f}")
    for line in broken if options.quick else ():
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if broken and options.quick else 0


if __name__ == "__main__":
    sys.exit(main())
