"""Figures of the engine in the shape the platform's have, so that one page can be rendered from both."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.engine import peers
from benchmarks.engine.origin import Origin
from benchmarks.engine.peers import CLIENT
from benchmarks.engine.scenarios import Metric, Scenario, Taken
from benchmarks.platform.record import RESULTS as PLATFORM_RESULTS
from benchmarks.platform.record import Figure, commit, machine, write

RESULTS = PLATFORM_RESULTS.with_name("engine.json")
COMMAND = "python -m benchmarks.engine"
METRICS: tuple[Metric, ...] = ("CPU", "wall")
SEPARATOR = " | "


def started() -> dict[str, Any]:
    """The machine, its load and the tools, asked before the first measurement."""
    where = machine(packages=())
    where["packages"] = peers.versions()
    where["not_installed"] = peers.missing()
    return where


def circumstances() -> dict[str, Any]:
    """The machine and its load, for campaigns without peers."""
    return machine(packages=())


def save_campaign(name: str, found: list[Figure], command: str, where: dict[str, Any]) -> None:
    """One campaign of the engine into a file of its own; figures of an earlier run of it are dropped."""
    path = campaign_results(name)
    path.unlink(missing_ok=True)
    write(found, command, {**where, "load_after": os.getloadavg()[0]}, path)


def campaign_results(name: str) -> Path:
    return RESULTS.with_name(f"engine-{name}.json")


def figures(scenario: Scenario, taken: dict[str, Taken]) -> list[Figure]:
    """Seconds of every tool, its ratio to curl by repetition, and the promised ratios with their goals."""
    found: list[Figure] = []
    for metric in METRICS:
        goals = {promise.peer: promise.goal for promise in scenario.promises if promise.metric == metric}
        curl = taken["curl"].of(metric)
        for name, each in taken.items():
            found.append(Figure(_name(scenario, metric, name), "s", tuple(each.of(metric))))
            if name not in ("curl", CLIENT):
                found.append(Figure(_name(scenario, metric, f"{name} / curl"), "ratio", _ratios(each.of(metric), curl)))
        for peer in dict.fromkeys(["curl", *goals]):
            if peer in taken:
                ratios = _ratios(taken[CLIENT].of(metric), taken[peer].of(metric))
                found.append(Figure(_name(scenario, metric, f"{CLIENT} / {peer}"), "ratio", ratios, goals.get(peer)))
    return found


def forget() -> None:
    """A full run starts from nothing: a scenario no longer measured must not stay in the file."""
    RESULTS.unlink(missing_ok=True)


def save(found: list[Figure], where: dict[str, Any], origin: Origin, scenario: Scenario, repetitions: int) -> None:
    """Add one scenario, with the load and commit of its own time; a run cut short leaves what it has measured."""
    known: dict[str, Any] = json.loads(RESULTS.read_text())["machine"]["scenarios"] if RESULTS.exists() else {}
    known[scenario.name] = {
        "commands": {peer.name: peer.shown(origin) for peer in scenario.peers},
        "commit": commit(),
        "load_after": os.getloadavg()[0],
        "load_before": where["load_before"],
        "repetitions": repetitions,
        **({"note": scenario.note} if scenario.note else {}),
    }
    where["scenarios"] = known
    write(found, COMMAND, where, RESULTS)
    where["load_before"] = os.getloadavg()[0]


def _name(scenario: Scenario, metric: Metric, who: str) -> str:
    return SEPARATOR.join((scenario.name, metric, who))


def _ratios(ours: list[float], theirs: list[float]) -> tuple[float, ...]:
    return tuple(our / their for our, their in zip(ours, theirs, strict=True))
