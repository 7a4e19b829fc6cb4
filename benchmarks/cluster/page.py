"""The section of ``docs/benchmarks.md`` about the cluster."""

from __future__ import annotations

from benchmarks.page import Run, at, cell, machine_lines, unmeasured, verdict

TEXT = """The five services, PostgreSQL 15, Redis 7, RabbitMQ 3.10, the origin and the load generator share the machine's cores, so these
figures are what one small machine does, not what a service can do alone. CPU covers the services with their children (with
the three servers where the name says so). A claim is counted when PostgreSQL commits it; a WebSocket delay runs from
`publish` to the client's socket. Goals bound the median of the rounds; the last column but one is what the product's requirements ask. *Idle
memory* is what a process maps, libraries that all five share included (30 to 34 MiB each). While a burst is accepted the worker already reads
pages of the first of it, on the same two cores. Rows that name no pace are of days on which such a machine was quicker and steadier: at the
time of the latest rows one `GET` took between 1.1 and 3.5 ms of CPU within one run. Measured by turns in the short form, the commit of those rows
took 2.5, 1.6 and 2.6 ms for it, and commit 8bb91e6 1.0, 1.5 and 1.4; WebSocket delays were 1.3 ms (P50) and 3.1 ms (P99) on such a day.
"""
# What was promised, its goal, and how the names of the figures begin that measure it.
PROMISED = (
    ("API at 100 mixed requests/s beside 50 downloads", "P95 <= 50 ms, P99 <= 150 ms, 0 errors", "API, "),
    ("a hop between services", "P95 <= 10 ms", "gRPC call"),
    ("an authenticated GET over all processes", "<= 2.1 ms of CPU", "GET /api/v1/quota"),
    ("submit until a worker has claimed, at 20/s", "P50 <= 20 ms, P95 <= 60 ms", "submit until"),
    ("1,000 submissions in a burst", ">= 300/s accepted, none lost", "burst of"),
    ("1,000 WebSockets, 5 % stalled", "P50 <= 2 ms, P99 <= 30 ms, <= 64 KiB a client", "WebSocket, 1000"),
    ("50 files x 20 MB with one worker", "<= 8 s and <= 10 CPU-s", "50 files"),
    ("idle memory and start of each service", "<= 90 MiB, ready in <= 2.5 s", "gateway: "),
)


def cluster_page(run: Run) -> list[str]:
    lines = ["## Cluster", "", *machine_lines(run), "", TEXT]
    lines += ["| figure | unit | goal | measured | required | | at |", "|---|---|---|---|---|---|---|"]
    figures = sorted(run["figures"].items(), key=lambda item: _natural(item[0]))
    for name, figure in figures:
        lines.append(
            f"| {name} | {figure['unit']} | {_goal(figure)} | {cell(figure)} | {figure['prd']} | {verdict(figure)} | {at(figure)} |"
        )
    missed = [name for name, figure in figures if figure["met"] is False]
    if missed:
        lines += ["", f"Not reached: {'; '.join(missed)}."]
    elif any(figure["met"] for _, figure in figures):
        lines += ["", "Every goal that was measured is reached."]
    left = [(work, goal) for work, goal, start in PROMISED if not any(name.startswith(start) for name, _ in figures)]
    return [*lines, "", *unmeasured(left)] if left else lines


def _natural(name: str) -> list[tuple[int, str]]:
    """50 before 200."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in name.replace(",", "").split()]


def _goal(figure: Run) -> str:
    if figure["goal"] is None:
        return ""
    return f"{'>=' if figure['at_least'] else '<='} {figure['goal']:g}"
