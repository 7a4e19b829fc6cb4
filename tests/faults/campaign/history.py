"""What every client asked and was answered, one JSON object a line, in the order it happened.

Jepsen's words: an operation begins with ``invoke`` and ends with ``ok`` (done), ``fail`` (certainly not done) or ``info`` (nobody knows: a
cut answer, a timeout, a 5xx). ``note`` is what somebody saw or did without asking the product.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

Event = Mapping[str, Any]


class History:
    """Kept in memory for the checker at the end and written as it grows for whoever looks into a failure."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self._file = file
        self._numbers = itertools.count(1)

    def invoke(self, what: str, who: str, **detail: Any) -> int:
        """Answers the number that its ending must carry."""
        number = next(self._numbers)
        self._add("invoke", number, what, who=who, **detail)
        return number

    def ok(self, number: int, what: str, **detail: Any) -> None:
        self._add("ok", number, what, **detail)

    def fail(self, number: int, what: str, **detail: Any) -> None:
        self._add("fail", number, what, **detail)

    def info(self, number: int, what: str, **detail: Any) -> None:
        self._add("info", number, what, **detail)

    def note(self, what: str, **detail: Any) -> None:
        self._add("note", next(self._numbers), what, **detail)

    def _add(self, kind: str, number: int, what: str, **detail: Any) -> None:
        event = {"at": round(time.monotonic(), 4), "kind": kind, "op": number, "what": what, **detail}
        self.events.append(event)
        if self._file is not None:
            self._file.write(json.dumps(event, separators=(",", ":")) + "\n")


def read_history(path: Path) -> list[Event]:
    with path.open() as lines:
        return [json.loads(line) for line in lines]


def of(events: Iterable[Event], what: str, kind: str) -> list[Event]:
    return [event for event in events if event["what"] == what and event["kind"] == kind]
