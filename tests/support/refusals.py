"""What sites and yt-dlp say when they refuse (``refusals.tsv``), with the kind each of it is."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("refusals.tsv")


@dataclass(frozen=True, slots=True)
class Refusal:
    kind: str
    site: str
    message: str
    warning: str | None


def refusals() -> list[Refusal]:
    with TABLE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return [Refusal(row["kind"], row["site"], row["message"], row["warning"] or None) for row in rows]
