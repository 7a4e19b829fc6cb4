"""The part of ``docs/benchmarks.md`` about large databases: a row a request, a column a size."""

from __future__ import annotations

import re

from benchmarks.page import Run, machine_lines

TEXT = """`python -m benchmarks.scale`. Milliseconds of one request after another, P50 / P95, from the client's side, asked by turns over a gateway each.
The user who asks has a tenth of all downloads, a thousand users the rest. Goal: P50 at most twice and P95 at most three times the
smallest database's. A claim is a worker's, out of a queue of a thousand users.
"""
_NAME = re.compile(r"(?P<what>.+), (?P<size>\d+) (?P<of>downloads|queued): (?P<which>P50|P95)")


def scale_page(run: Run) -> list[str]:
    lines = ["## A million downloads", "", *machine_lines(run), "", TEXT]
    rows: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    missed = []
    for name, figure in run["figures"].items():
        parsed = _NAME.fullmatch(name)
        if parsed is None:
            continue
        row = rows.setdefault((parsed["of"], parsed["what"]), {})
        row.setdefault(int(parsed["size"]), {})[parsed["which"]] = figure["median"]
        if figure["met"] is False:
            missed.append(name)
    for of in ("downloads", "queued"):
        sizes = sorted({size for (what, _), row in rows.items() if what == of for size in row})
        lines += ["", f"| {of} | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
        for (_, what), row in sorted((key, row) for key, row in rows.items() if key[0] == of):
            cells = (f"{row[size]['P50']:.2f} / {row[size]['P95']:.2f}" for size in sizes)
            lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return [*lines, "", f"Not reached: {'; '.join(missed)}." if missed else "Every goal is reached."]
