"""The section of ``docs/benchmarks.md`` about the cluster."""

from __future__ import annotations

from benchmarks.page import Run, cell, machine_lines, verdict

TEXT = """The five services, PostgreSQL 15, Redis 7, RabbitMQ 3.10, the origin and the load generator share the machine's cores, so these
figures are what one small machine does, not what a service can do alone. CPU covers the services with their children (with
the three servers where the name says so). A claim is counted when PostgreSQL commits it; a WebSocket delay runs from
`publish` to the client's socket. Goals bound the median of the rounds; the last column but one is what the product's requirements ask.
"""


def cluster_page(run: Run) -> list[str]:
    lines = ["## Cluster", "", *machine_lines(run), "", TEXT]
    lines += ["| figure | unit | goal | measured | required | |", "|---|---|---|---|---|---|"]
    figures = sorted(run["figures"].items(), key=lambda item: _natural(item[0]))
    for name, figure in figures:
        lines.append(
            f"| {name} | {figure['unit']} | {_goal(figure)} | {cell(figure)} | {figure['prd']} | {verdict(figure)} |"
        )
    missed = [name for name, figure in figures if figure["met"] is False]
    return [*lines, "", f"Not reached: {'; '.join(missed)}." if missed else "Every goal that was measured is reached."]


def _natural(name: str) -> list[tuple[int, str]]:
    """50 before 200."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in name.replace(",", "").split()]


def _goal(figure: Run) -> str:
    if figure["goal"] is None:
        return ""
    return f"{'>=' if figure['at_least'] else '<='} {figure['goal']:g}"
