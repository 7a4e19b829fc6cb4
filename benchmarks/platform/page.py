"""The part of ``docs/benchmarks.md`` about gateway and product."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from benchmarks.page import Run, cell, machine_lines, unmeasured, verdict

TEXT = """Server processes on the same machine as their clients. Goals are upper bounds on the median; *submit to first byte* shows quartiles.
CPU per request, files and WebSockets are of the gateway alone, in a process without workers; every other figure is of `vasset serve` as its
users start it, with origin (nginx) and data in memory, but for the burst, whose database is on the disk. *Memory with children* counts shared
pages once.
MeTube cannot be installed from PyPI; yt-dlp in threads is the nearest peer that can.
"""
# What was promised, its goal, and how the names of the figures begin that measure it.
UNMEASURED = (
    ("`GET /readyz` after start", "<= 2 s", "start: "),
    ("idle memory", "<= 100 MiB for the server, <= 220 MiB with warm children", "idle memory: "),
    ("submit to the first byte asked of the origin", "<= 150 ms P50", "submit to first byte asked"),
    ("50 files x 20 MB from one origin, beside an aiohttp loop", "<= 6 s and <= 8 CPU-s", "50 files x 20 MB: "),
    ("P95 at 200 requests/s beside 10 running downloads", "< 50 ms", "GET at 200/s beside 10 downloads"),
    ("1,000 submissions in a burst", ">= 300/s accepted", "burst of 1000 submissions"),
    ("50 files x 20 MB beside MeTube itself", "28-30 s and 0.6 CPU-s a task where it was once run", ""),
)


def platform_page(run: Run) -> list[str]:
    figures: Run = run["figures"]
    lines = ["## Platform", "", *machine_lines(run), *_runs(figures.values()), "", TEXT]
    lines += ["| figure | unit | goal | measured | |", "|---|---|---|---|---|"]
    for name, figure in sorted(figures.items()):
        goal = "" if figure["goal"] is None else f"<= {figure['goal']:.3g}"
        lines.append(f"| {name} | {figure['unit']} | {goal} | {cell(figure)} | {verdict(figure)} |")
    missed = [name for name, figure in sorted(figures.items()) if figure["met"] is False]
    lines += ["", f"Not reached: {'; '.join(missed)}." if missed else "Every goal that was measured is reached."]
    rows = [(work, goal) for work, goal, start in UNMEASURED if not _begins(figures, start)]
    return [*lines, "", *unmeasured(rows)]


def _runs(figures: Collection[Run]) -> list[str]:
    """Parts may be measured apart: each with the commit and the load it was measured at."""
    runs = sorted({(figure["commit"], figure["load_before"]) for figure in figures if "commit" in figure})
    told = (f"{commit} (load average {load:.1f})" for commit, load in runs)
    lines = ["- parts measured at commits " + ", ".join(told)] if len(runs) > 1 else []
    older = sorted({figure["name"].partition(",")[0] for figure in figures if "commit" not in figure})
    return [*lines, f"- of an earlier run, on another machine: {', '.join(older)}"] if older else lines


def _begins(figures: Iterable[str], start: str) -> bool:
    return bool(start) and any(name.startswith(start) for name in figures)
