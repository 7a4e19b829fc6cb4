"""The engine's part of the page: files and playlists beside other tools, then one section a campaign."""

from __future__ import annotations

import json
from collections.abc import Iterable

from benchmarks.engine.record import METRICS, SEPARATOR, campaign_results
from benchmarks.page import Run, cell, figure_table, machine_lines, unmeasured, verdict

ENGINE_TEXT = """Every tool fetches the same random bytes from one nginx on loopback: to a disk's file system where the heading says *disk*, which
is what users have, else into memory-backed storage. Each repetition runs all tools, one after the other, starting with another one each time. CPU is user + system of
the whole process with its children, so `vasset` pays for the start of its interpreter and, unless it says *no hash*, for a
BLAKE3 of the file. Every file is compared with the origin's by SHA-256 outside the measured time. The limit is a program that
receives, writes and hashes with BLAKE3, over TLS with the engine's own library, and does nothing else (`benchmarks/limits`): what the engine takes above it is the price of resuming,
checking, guarding and of Python. The floors are programs of 60 lines (`engine/examples/floor_*.rs`) without even the hash: one receives into one buffer and writes
it, the other lets the kernel move the bytes and never sees them. Free memory is kept in pieces that a virtual machine does not give
back to its host (`benchmarks/ballast.py`): else whoever runs first pays its page faults, up to 3 s per GiB.
"""
# What was promised, its goal, and how the name of a scenario ends that measures it.
ENGINE_UNMEASURED = (
    *(
        row
        for place in ("disk", "memory")
        for row in (
            (
                f"1 GiB over HTTP, {place}",
                "CPU <= 0.60 x curl, <= 0.45 x aria2 and hf_transfer, <= 1.10 x the limit",
                f"over HTTP, {place}",
            ),
            (f"1 GiB over HTTPS, {place}", "CPU <= 0.85 x curl, <= 1.10 x the limit", f"TLS 1.3, {place}"),
        )
    ),
    ("100 MiB at 8 MiB/s per connection, 60 ms to first byte", "wall <= aria2", "connection, 60 ms to first byte"),
    ("1,000 HLS fragments", "wall <= 1.3 x curl, >= 20 x faster than yt-dlp", "HLS fragments of 200 KiB"),
    ("the same with 60 ms to first byte, 16 connections", "wall <= 1.05 x curl", "16 connections"),
)
# Campaigns, each in a file of its own: name, heading, promise, what the reader has to know.
CAMPAIGNS = (
    (
        "tasks",
        "Many downloads in one process",
        "64 MiB + 256 KiB a task; 1.5 x the CPU of one task; 10 ms; cancel 50 ms; limits 2 %; Jain 0.95",
        "One Python process drives the engine (`benchmarks/engine/task_child.py`): files of 8 MiB, every second one slowed to"
        " 8 MiB/s a connection, from 16 addresses. Memory is the highest resident set less that of the interpreter before the"
        " engine was imported. *Silence* is: the task has ended, its sockets are closed, and 50 ms later nothing more has been"
        " written (else the run fails). The limit is 20, then 40, then 10 MiB/s.",
    ),
    (
        "kill",
        "kill -9 at random moments",
        "<= 16 MiB fetched again each, bytes equal",
        "A process that downloads 96 MiB over four connections is killed up to eight times on the way and started again"
        " (`engine/tests/kill.rs`, which fails when a byte differs). *Fetched again* is what was on disk at its death and not believed"
        " by the next start.",
    ),
    (
        "evict",
        "Cleanup over 1,000,000 files",
        "<= 0.5 x `find -newermt ... -print` in wall",
        "Reconciling a folder with the database. `find` asks the kernel about every file; the engine asks only about names that the"
        " database does not know.",
    ),
)


def engine_page(run: Run) -> list[str]:
    scenarios: Run = dict(sorted(run["machine"]["scenarios"].items(), key=lambda item: _place(item[0])))
    lines = ["## Engine", "", *machine_lines(run), "", ENGINE_TEXT]
    lines += ["| work | ratio | goal | measured | |", "|---|---|---|---|---|"]
    for scenario in scenarios:
        for figure in _of(run, scenario):
            if figure["goal"] is not None:
                _, metric, who = figure["name"].split(SEPARATOR)
                lines.append(
                    f"| {scenario} | {metric}, {who} | <= {figure['goal']:g} | {cell(figure)} | {verdict(figure)} |"
                )
    lines += ["", *_shortfall(run)]
    for scenario, kept in scenarios.items():
        lines += ["", f"### {scenario}", "", *_circumstances(kept), "", *_seconds(run, scenario), ""]
        lines += ["```", *kept["commands"].values(), "```"]
    missing = [(work, goal) for work, goal, name in ENGINE_UNMEASURED if not _has(scenarios, name)]
    for name, heading, goal, text in CAMPAIGNS:
        if campaign_results(name).exists():
            lines += ["", *_campaign(name, heading, text)]
        else:
            missing.append((heading, goal))
    if campaign_results("lies").exists():
        lines += ["", *lies_section(json.loads(campaign_results("lies").read_text()))]
    else:
        missing.append(("12 kinds of lies", "0 wrong files, the survivable ones survived, beside the peers' counts"))
    return [*lines, "", *unmeasured(missing)] if missing else lines


def _place(scenario: str) -> tuple[int, str]:
    """Whole files on a disk first, then in memory, then what is about something else."""
    places = ("disk", "memory")
    place = scenario.rpartition(", ")[2]
    return (places.index(place) if place in places else len(places), scenario)


def _circumstances(kept: Run) -> list[str]:
    before, after = (
        "not recorded" if load is None else f"{load:.1f}" for load in (kept["load_before"], kept["load_after"])
    )
    load = f"load average {before} before and {after} after"
    lines = [f"{kept['repetitions']} repetitions at commit {kept['commit']}, {load}."]
    return lines + ([kept["note"]] if "note" in kept else [])


def _seconds(run: Run, scenario: str) -> list[str]:
    """One row a tool: its seconds, and each divided by curl's of the same repetition."""
    figures = {tuple(figure["name"].split(SEPARATOR)[1:]): figure for figure in _of(run, scenario)}
    lines = ["| tool | CPU s | CPU / curl | wall s | wall / curl |", "|---|---|---|---|---|"]
    for tool in run["machine"]["scenarios"][scenario]["commands"]:
        cells = []
        for metric in METRICS:
            ratio = figures.get((metric, f"{tool} / curl"))
            cells += [cell(figures[metric, tool]), "1" if ratio is None else cell(ratio)]
        lines.append(f"| {tool} | {' | '.join(cells)} |")
    return lines


def _shortfall(run: Run) -> list[str]:
    promised = [figure for figure in run["figures"].values() if figure["goal"] is not None]
    missed = [figure for figure in promised if not figure["met"]]
    if not missed:
        return [f"All {len(promised)} goals measured here are reached."]
    lines = [f"**{len(missed)} of the {len(promised)} goals measured here are not reached.**"]
    floor = run["figures"].get(SEPARATOR.join(("1024 MiB over HTTP, disk", "CPU", "floor: recv + pwrite / curl")))
    if floor is not None:
        lines.append(
            f"For scale: the floor, which neither hashes nor checks, took {cell(floor)} of curl's CPU over HTTP to the disk in this run; in the"
            " figures the goals were set from, on another machine, it took 0.39-0.74 (0.75-1.4 s beside curl's 1.9 s). What the"
            " engine spends above its *no hash* row is BLAKE3. Where the rest goes stands in `docs/decisions/http-reader.md`."
            " Of a list of fragments that takes 0.35 s, 0.05 s are the start of the interpreter, which curl does not have."
        )
    return [" ".join(lines)]


def _of(run: Run, scenario: str) -> list[Run]:
    return [figure for name, figure in run["figures"].items() if name.startswith(scenario + SEPARATOR)]


def _has(scenarios: Iterable[str], name: str) -> bool:
    return bool(name) and any(scenario.endswith(name) for scenario in scenarios)


def _campaign(name: str, heading: str, text: str) -> list[str]:
    run: Run = json.loads(campaign_results(name).read_text())
    missed = [name for name, figure in sorted(run["figures"].items()) if figure["met"] is False]
    command = next(iter(run["figures"].values()))["command"]
    lines = [f"### {heading}", "", text, "", *_when(run), "", *figure_table(run), ""]
    if missed:
        lines += [f"Not reached: {'; '.join(missed)}.", ""]
    return [*lines, "```", command, "```"]


def _when(run: Run) -> list[str]:
    """One line: commit, day, machine and load."""
    where = run["machine"]
    load = f"load average {where['load_before']:.1f} before and {where['load_after']:.1f} after"
    return [
        f"Measured {run['measured_at']} at commit {run['commit']} on {where['cpu']}, {where['cores']} cores, {load}."
    ]


def lies_section(run: Run) -> list[str]:
    """The table of endings: a tool's row by lie, all rounds in one cell when they differ."""
    table: dict[str, dict[str, list[str]]] = run["table"]
    tools = ["vasset", *sorted({tool for row in table.values() for tool in row} - {"vasset"})]
    lines = [
        "### Twelve kinds of lies",
        "",
        "A raw TCP origin (`benchmarks/engine/lying.py`) tells each tool the same lies about 24 MiB. *right*: exit code 0 and one true"
        f" version of the file; *refused*: another exit code; *hung*: neither within {run['bound_seconds']:.0f} s; **WRONG**: exit code 0"
        " and a file that is not the origin's. Kinds with * can be survived.",
        "",
        *_when(run),
        "",
        f"| lie | {' | '.join(tools)} |",
        "|---" * (len(tools) + 1) + "|",
    ]
    for lie in table:
        mark = " *" if lie in run["survivable"] else ""
        lines.append(f"| {lie}{mark} | {' | '.join(_endings(table[lie].get(tool, [])) for tool in tools)} |")
    wrong = [sum("WRONG" in row.get(tool, []) for row in table.values()) for tool in tools]
    lines.append(f"| **kinds with a wrong file and exit code 0** | {' | '.join(f'**{count}**' for count in wrong)} |")
    lost = [lie for lie in run["survivable"] if set(table[lie]["vasset"]) - {"right"}]
    verdict_line = (
        f"Goal: 0 wrong for vasset ({'reached' if wrong[0] == 0 else '**not reached**'}), survivable kinds survived "
    )
    verdict_line += f"({'**not reached**: ' + ', '.join(lost) if lost else 'reached'})."
    return [*lines, "", verdict_line, "", "```", run["command"], *run["commands"].values(), "```"]


def _endings(found: list[str]) -> str:
    shown = " / ".join(f"**{ending}**" if ending == "WRONG" else ending for ending in dict.fromkeys(found))
    return shown or "not installed"
