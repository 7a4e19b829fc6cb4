"""``python -m tests.faults.campaign.page``: put the figures of ``benchmarks/results/chaos.json`` into ``docs/fault-campaign.md``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "benchmarks" / "results" / "chaos.json"
PAGE = ROOT / "docs" / "fault-campaign.md"
BEGIN, END = "<!-- figures: written by `python -m tests.faults.campaign.page` -->\n", "<!-- end of figures -->\n"
Run = dict[str, Any]


def render(runs: Sequence[Run]) -> str:
    """The tables, one column a deployment and one for both."""
    columns: dict[str, list[Run]] = {"embedded": [], "distributed": [], "both": list(runs)}
    for run in runs:
        columns[run["deployment"]].append(run)
    lines = [_row(["", *columns]), _row(["---", *(["---:"] * len(columns))])]
    for name, count in _ROWS:
        lines.append(_row([name, *(f"{count(found):,}" if found else "–" for found in columns.values())]))
    lines += [
        "",
        "Kills by target and place:",
        "",
        _row(["killed", *columns]),
        _row(["---", *(["---:"] * len(columns))]),
    ]
    kinds = sorted({kind for run in runs for kind in _kills(run)}, key=_kind_order)
    for kind in kinds:
        counts = (sum(_kills(run)[kind] for run in found) for found in columns.values())
        lines.append(_row([kind, *(f"{count:,}" for count in counts)]))
    lines += ["", "Other faults:", "", _row(["fault", *columns]), _row(["---", *(["---:"] * len(columns))])]
    for kind in sorted({kind for run in runs for kind in run["faults"]}):
        counts = (sum(run["faults"].get(kind, 0) for run in found) for found in columns.values())
        lines.append(_row([kind, *(f"{count:,}" for count in counts)]))
    lines += ["", "From start to ready after a kill, in seconds, on a machine that had other work too:", ""]
    lines += [_row(["", "times", "median of the runs' medians", "longest"]), _row(["---", "---:", "---:", "---:"])]
    for name in sorted({name for run in runs for name in run["recovery_seconds"]}):
        found = [run["recovery_seconds"][name] for run in runs if name in run["recovery_seconds"]]
        medians = sorted(one["median"] for one in found)
        longest = max(one["longest"] for one in found)
        times = sum(one["times"] for one in found)
        lines.append(_row([name, f"{times:,}", f"{medians[len(medians) // 2]:.1f}", f"{longest:.1f}"]))
    seeds = ", ".join(f"{run['deployment']} {run['seed']}" for run in runs)
    lines += ["", f"Runs (deployment and seed): {seeds}.", ""]
    return "\n".join(lines)


def _total(key: str, inner: str) -> Any:
    return lambda runs: sum(run[key].get(inner, 0) for run in runs)


def _violations(runs: Iterable[Run]) -> int:
    return sum(sum(run["violations"].values()) for run in runs)


def _per_kill(runs: Sequence[Run], extra: Callable[[Run], float]) -> float:
    kills: int = sum(run["kills"]["total"] for run in runs)
    return round(sum(map(extra, runs)) / max(1, kills), 1)


def _extra_executions(run: Run) -> float:
    return float(run["executions"] - run["executions"] / run["execution_amplification"])


def _extra_kib(run: Run) -> float:
    return float(run["origin_bytes_sent"] - run["bytes_of_completed_files"]) / 1024


_ROWS: list[tuple[str, Any]] = [
    ("runs", len),
    ("tasks accepted", _total("tasks", "accepted")),
    ("… completed", _total("tasks", "completed")),
    ("… cancelled", _total("tasks", "cancelled")),
    ("… failed, and refunded", _total("tasks", "failed")),
    ("kill -9", _total("kills", "total")),
    ("other faults", lambda runs: sum(run["faults_total"] for run in runs)),
    ("calls logged", lambda runs: sum(call["invoke"] for run in runs for call in run["calls"].values())),
    ("… that nobody answered", lambda runs: sum(call["info"] for run in runs for call in run["calls"].values())),
    ("WebSocket frames checked", lambda runs: sum(run["frames"] for run in runs)),
    ("files hashed and compared", lambda runs: sum(run["files_hashed"] for run in runs)),
    ("executions (claims of a worker)", lambda runs: sum(run["executions"] for run in runs)),
    ("… more than tasks, retries and resumes asked for, per kill", lambda runs: _per_kill(runs, _extra_executions)),
    ("MiB the origin sent", lambda runs: sum(run["origin_bytes_sent"] for run in runs) >> 20),
    ("… more than the completed files have, KiB per kill", lambda runs: _per_kill(runs, _extra_kib)),
    ("**violations**", _violations),
]


def _kills(run: Run) -> Counter[str]:
    kinds = Counter({kind: count for kind, count in run["kills"].items() if kind not in {"total", "at_places"}})
    return kinds + Counter(run["kills"]["at_places"])


def _kind_order(kind: str) -> tuple[int, int, str]:
    is_place = kind[0] == "K" and kind[1:].isdigit()
    return (1, int(kind[1:]), "") if is_place else (0, 0, kind)


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    runs = json.loads(RESULTS.read_text())["runs"]
    PAGE.write_text(before + BEGIN + "\n" + render(runs) + END + after)


if __name__ == "__main__":
    main()
