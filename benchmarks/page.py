"""What the parts of the benchmark page share: the machine, one cell, one verdict, what was not measured."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Run = dict[str, Any]


def machine_lines(run: Run) -> list[str]:
    where = run["machine"]
    loads = [kept[when] for kept in where.get("scenarios", {}).values() for when in ("load_before", "load_after")]
    loads = [load for load in loads if load is not None]
    loads = loads or [where["load_before"]]
    lines = [
        f"- {where['cpu']}, {where['cores']} cores, {where['memory_mib'] / 1024:.0f} GiB, {where['system']}, Python {where['python']};"
        f" measured {run['measured_at']}" + ("" if "scenarios" in where else f" at commit {run['commit']}"),
        f"- load average {' to '.join(f'{load:.1f}' for load in sorted({min(loads), max(loads)}))}",
        "- " + ", ".join(f"{name} {_version(name, version)}" for name, version in where["packages"].items()),
    ]
    if max(loads) > where["cores"]:
        lines.append("- **The machine was busy with other work**: seconds of this run are too high and spreads wide.")
    if absent := where.get("not_installed"):
        lines.append(f"- not installed, so not measured: {', '.join(absent)}")
    return lines


def figure_table(run: Run) -> list[str]:
    """One row a figure, with its goal and whether the median reached it."""
    lines = ["| figure | unit | goal | measured | | at |", "|---|---|---|---|---|---|"]
    for name, figure in sorted(run["figures"].items(), key=lambda item: _by_number(item[0])):
        goal = "" if figure["goal"] is None else f"<= {figure['goal']:g}"
        lines.append(f"| {name} | {figure['unit']} | {goal} | {cell(figure)} | {verdict(figure)} | {at(figure)} |")
    return lines


def _by_number(name: str) -> tuple[int, str]:
    first = name.split(" ")[0]
    return (int(first) if first.isdigit() else 0, name)


def unmeasured(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [
        "### Not measured",
        "",
        "Promised, and not part of this run; nothing is claimed about them here.",
        "",
        *(f"- {work} (goal: {goal})" for work, goal in rows),
    ]


def cell(figure: Run) -> str:
    values = figure["values"]
    middle = f"{statistics.median(values):.3g}"
    return f"{middle} ({min(values):.3g}-{max(values):.3g})" if len(values) > 1 else f"{middle} (once)"


def at(figure: Run) -> str:
    """The commit, and the machine's pace where it was noted: figures of one table may be of several runs."""
    return str(figure["commit"]) + (f", {figure['pace_ms']:.0f} ms" if "pace_ms" in figure else "")


def verdict(figure: Run) -> str:
    return {None: "", True: "reached", False: "**not reached**"}[figure["met"]]


def _version(name: str, said: str) -> str:
    """``curl 7.88.1 (x86_64...)`` and ``aria2 version 1.36.0`` name themselves."""
    words = [word for word in said.split() if word.lower() not in (name, "version")]
    return words[0] if words else said
