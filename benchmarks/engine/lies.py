"""Twelve kinds of lies against every tool: who ends with exit code 0 and a wrong file. Into ``results/engine-lies.json``.

    python -m benchmarks.engine.lies [--rounds 2]

Every tool gets the flags under which it splits the file and tries again. "right": exit 0 and the origin's bytes. "refused":
another exit code. "hung": neither within 45 seconds. "WRONG": exit 0, and the file is not a true version of the origin's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.ballast import MEMORY
from benchmarks.engine import peers, record
from benchmarks.engine.lying import LIES, MEBIBYTE, running_lying_origin
from benchmarks.platform.record import commit

FILE_BYTES = 24 * MEBIBYTE
LONGEST_SECONDS = 45.0
COMMAND = "python -m benchmarks.engine.lies"


def commands() -> dict[str, list[str]]:
    """URL and FILE stand for themselves. curl goes on after a cut by itself only with a retry, so it gets five."""
    here = Path(sys.executable).parent
    found = {
        "vasset": [str(here / "vasset"), "fetch", "-q", "URL", "-o", "FILE"],
        "curl": [
            "curl",
            "-s",
            "-f",
            "--retry",
            "5",
            "--retry-all-errors",
            "--retry-delay",
            "1",
            "--speed-time",
            "5",
            "--speed-limit",
            "1",
            "URL",
            "-o",
            "FILE",
        ],
    }
    if shutil.which("aria2c"):
        options = "--no-conf -q -x4 -s4 -k1M --timeout=5 --retry-wait=1 -m5 --file-allocation=none"
        found["aria2"] = ["aria2c", *options.split(), "-d", "FOLDER", "-o", "NAME", "URL"]
    if shutil.which("axel"):
        found["axel"] = ["axel", "-q", "-n", "4", "-T", "5", "-o", "FILE", "URL"]
    if python := peers.python_with("hf_transfer"):
        script = (
            "import sys, hf_transfer; hf_transfer.download(sys.argv[1], sys.argv[2], max_files=4, chunk_size=4194304,"
            " parallel_failures=3, max_retries=5)"
        )
        found["hf_transfer"] = [python, "-c", script, "URL", "FILE"]
    if (here / "yt-dlp").exists():
        options = "-q --ignore-config --http-chunk-size 4M --socket-timeout 5 --retries 5"
        found["yt-dlp"] = [str(here / "yt-dlp"), *options.split(), "URL", "-o", "FILE"]
    return found


def meet(command: list[str], url: str, file: Path, truths: tuple[bytes, ...]) -> str:
    """How one tool ended."""
    words = {"URL": url, "FILE": str(file), "FOLDER": str(file.parent), "NAME": file.name}
    try:
        ended = subprocess.run(
            [words.get(word, word) for word in command],
            env={**os.environ, "VASSET_EGRESS_ALLOW": "127.0.0.1"},
            cwd=file.parent,
            capture_output=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "hung"
    if ended.returncode != 0:
        return "refused"
    return "right" if file.exists() and file.read_bytes() in truths else "WRONG"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tool", help="only this one; prints, writes nothing")
    options = parser.parse_args()
    where = record.started()
    data, other = os.urandom(FILE_BYTES), os.urandom(FILE_BYTES)
    tools = {name: command for name, command in commands().items() if options.tool in (None, name)}
    table: dict[str, dict[str, list[str]]] = {lie: {tool: [] for tool in tools} for lie in LIES}
    with (
        running_lying_origin() as origin,
        tempfile.TemporaryDirectory(prefix="vasset-lies-", dir=MEMORY if MEMORY.is_dir() else None) as folder,
    ):
        for round_number in range(options.rounds):
            for index, (lie, (behaviour, _)) in enumerate(LIES.items()):
                for tool, command in tools.items():
                    place = Path(folder) / f"{round_number}-{index}-{tool}"
                    place.mkdir()
                    url = origin.tell(f"/{place.name}/video.mp4", behaviour, data, other)
                    began = time.monotonic()
                    ending = meet(command, url, place / "video.mp4", (data, other))
                    table[lie][tool].append(ending)
                    print(f"{lie:32} {tool:12} {ending:8} {time.monotonic() - began:5.1f} s", flush=True)
                    shutil.rmtree(place)
    if options.tool is None:
        save(table, tools, where)
    wrong = Counter(tool for row in table.values() for tool, endings in row.items() if "WRONG" in endings)
    missed = [
        lie
        for lie, (_, is_survivable) in LIES.items()
        if is_survivable and set(table[lie].get("vasset", [])) - {"right"}
    ]
    print(
        "kinds with a wrong file and exit 0:", {tool: wrong[tool] for tool in tools}, "not survived by vasset:", missed
    )
    return 1 if wrong["vasset"] or missed else 0


def save(table: dict[str, dict[str, list[str]]], tools: dict[str, list[str]], where: dict[str, Any]) -> None:
    path = record.campaign_results("lies")
    shown = {
        tool: " ".join(f"'{word}'" if " " in word else word for word in command) for tool, command in tools.items()
    }
    for tool, text in shown.items():
        shown[tool] = text.replace(str(Path(sys.executable).parent) + "/", "").replace(
            str(peers.BENCH_PYTHON), "python"
        )
    run = {
        "machine": {**where, "load_after": os.getloadavg()[0]},
        "commit": commit(),
        "measured_at": time.strftime("%Y-%m-%d"),
        "command": COMMAND,
        "bound_seconds": LONGEST_SECONDS,
        "commands": shown,
        "survivable": [lie for lie, (_, is_survivable) in LIES.items() if is_survivable],
        "table": table,
    }
    path.write_text(json.dumps(run, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
