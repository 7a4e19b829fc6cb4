"""Who is measured: each tool as one command line, the environment it needs and the files it leaves."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.engine.origin import MEBIBYTE, Origin, Pace, Served, fragment_name

REPOSITORY = Path(__file__).parents[2]
BENCH_PYTHON = REPOSITORY / ".cache" / "bench-venv" / "bin" / "python"
FLOORS = {"floor: recv + pwrite": "floor_recv", "floor: splice": "floor_splice"}
LIMIT = "limit: recv + write + BLAKE3"
LIMIT_SOURCE = REPOSITORY / "benchmarks" / "limits" / "Cargo.toml"
HF_SCRIPT = "import sys, hf_transfer; hf_transfer.download(sys.argv[1], sys.argv[2], max_files={0}, chunk_size={1})"
FETCHERS = Path(__file__).parent / "fetchers"
CLIENT = "vasset"


@dataclass(frozen=True, slots=True)
class Peer:
    """``outputs`` joined in order must have the digest of what was served: the scenario's file unless one is named."""

    name: str
    command: tuple[str, ...]
    outputs: tuple[Path, ...]
    environment: dict[str, str] = field(default_factory=dict)
    served: Served | None = None

    def shown(self, origin: Origin) -> str:
        """The command as a reader would type it: no folder or port of this run."""
        assignments = [f"{key}={value}" for key, value in self.environment.items()]
        text = " ".join([*assignments, *(f"'{word}'" if " " in word else word for word in self.command)])
        for found, said in (
            (str(origin.folder), "DIR"),
            (str(self.outputs[0].parent.parent), "DISK"),
            (str(Path(sys.executable).parent) + "/", ""),
            (str(BENCH_PYTHON), "python"),
            (str(REPOSITORY / "target" / "release") + "/", ""),
            (str(REPOSITORY) + "/", ""),
            (str(origin.http_port), "PORT"),
            (str(origin.https_port), "PORT"),
        ):
            text = text.replace(found, said)
        return text


def single_file(
    origin: Origin, served: Served, *, tls: bool = False, pace: Pace = "", out: Path | None = None
) -> list[Peer]:
    """Everybody who can fetch one file; those not installed are left out and named by ``missing``."""
    url = origin.url(served.name, tls=tls, pace=pace)
    out = out or origin.folder / "out"
    authority = str(origin.ca_file)
    ours = {"VASSET_EGRESS_ALLOW": "127.0.0.1"} | ({"VASSET_CA_FILE": authority} if tls else {})
    client = str(Path(sys.executable).parent / "vasset")
    widest = ("-x16", "-s16", "-k1M") if pace else ("-x4", "-s4")
    peers = [
        _peer(CLIENT, out, (client, "fetch", "-q", url, "-o"), environment=ours),
        _peer("vasset, no hash", out, (client, "fetch", "-q", "--hash", "none", url, "-o"), environment=ours),
        _peer("curl", out, ("curl", "-s", "-f", *(("--cacert", authority) if tls else ()), url, "-o")),
    ]
    if shutil.which("aria2c"):
        verify = (f"--ca-certificate={authority}",) if tls else ()
        options = ("--no-conf", "-q", *widest, "--file-allocation=none", *verify, "-d", str(out), url, "-o")
        peers.append(Peer("aria2", ("aria2c", *options, "aria2.mp4"), (out / "aria2.mp4",)))
    if not tls:
        peers += _range_fetchers(out, url, served, connections=16 if pace else 8)
    if not pace and importlib.util.find_spec("yt_dlp"):
        trust = ("--compat-options", "no-certifi") if tls else ()
        options = ("-q", "--ignore-config", "--no-part", *trust, url, "-o")
        program = str(Path(sys.executable).parent / "yt-dlp")
        peers.append(_peer("yt-dlp", out, (program, *options), environment={"SSL_CERT_FILE": authority} if tls else {}))
    if not pace and (limit := limit_program()):
        target = out / "limit.mp4"
        trusted = (authority,) if tls else ()
        peers.append(Peer(LIMIT, (limit, url, str(target), *trusted), (target,)))
    if not tls and not pace:
        for name, program in _floors(origin.folder).items():
            peers.append(_peer(name, out, (program, url)))
    return peers


def fragments(origin: Origin, served: Served, count: int, *, pace: Pace = "") -> list[Peer]:
    """The same list joined by the engine and yt-dlp, and fetched unjoined by one curl with 16 transfers at once."""
    out = origin.folder / "out"
    url = origin.url(served.name, pace=pace)
    client = str(Path(sys.executable).parent / "vasset")
    lists = origin.folder / f"curl{pace}.conf"
    parts = [out / fragment_name(index) for index in range(count)]
    lists.write_text("".join(f'url = "{origin.url(part.name, pace=pace)}"\noutput = "{part}"\n' for part in parts))
    peers = [
        _peer(CLIENT, out, (client, "fetch", "-q", url, "-o"), environment={"VASSET_EGRESS_ALLOW": "127.0.0.1"}),
        Peer("curl", ("curl", "-s", "-f", "-Z", "--parallel-max", "16", "-K", str(lists)), tuple(parts)),
    ]
    if importlib.util.find_spec("yt_dlp"):
        program = str(Path(sys.executable).parent / "yt-dlp")
        options = ("-q", "--ignore-config", "--fixup", "never", "--downloader", "native", "-N", "16", url, "-o")
        peers.append(_peer("yt-dlp", out, (program, *options)))
    return peers


def _range_fetchers(out: Path, url: str, served: Served, *, connections: int) -> list[Peer]:
    """Libraries without a command of their own: a script of some lines each, as their users would write it."""
    peers = []
    chunk = min(10 * MEBIBYTE, served.size // connections + 1)
    if python := python_with("hf_transfer"):
        peers.append(_peer("hf_transfer", out, (python, "-c", HF_SCRIPT.format(connections, chunk), url)))
    for name in ("obstore", "aiohttp"):
        if python := python_with(name):
            script = str(FETCHERS / f"{name}_ranges.py")
            peers.append(_peer(name, out, (python, script, url, str(connections))))
    return peers


def missing() -> list[str]:
    """Tools this machine lacks, so that a reader does not take their absence for a choice."""
    found = {
        "aria2": shutil.which("aria2c"),
        "axel": shutil.which("axel"),
        "hf_transfer": python_with("hf_transfer"),
        "obstore": python_with("obstore"),
        "aiohttp": python_with("aiohttp"),
        "yt-dlp": importlib.util.find_spec("yt_dlp"),
        "floors (need rustc)": shutil.which("rustc"),
        "limit (needs cargo)": limit_program(),
    }
    return [name for name, where in found.items() if not where]


def versions() -> dict[str, str]:
    commands = {
        "curl": ["curl", "--version"],
        "aria2": ["aria2c", "--version"],
        "axel": ["axel", "--version"],
        "yt-dlp": [str(Path(sys.executable).parent / "yt-dlp"), "--version"],
        "openssl": ["openssl", "version"],
    }
    for name in ("hf_transfer", "obstore", "aiohttp"):
        if python := python_with(name):
            version = f"from importlib.metadata import version; print(version('{name}'))"
            commands[name] = [python, "-c", version]
    return {name: _first_line(command) for name, command in commands.items()}


def _peer(name: str, out: Path, command: tuple[str, ...], *, environment: dict[str, str] | None = None) -> Peer:
    target = out / f"{name.replace(', ', '-').replace(': ', '-').replace(' ', '-')}.mp4"
    return Peer(name, (*command, str(target)), (target,), environment or {})


@cache
def python_with(package: str) -> str | None:
    """An interpreter that can import it: ours, or that of `make bench`'s own environment."""
    if importlib.util.find_spec(package):
        return sys.executable
    if BENCH_PYTHON.exists():
        found = subprocess.run([BENCH_PYTHON, "-c", f"import {package}"], capture_output=True, check=False)
        return str(BENCH_PYTHON) if found.returncode == 0 else None
    return None


@cache
def limit_program() -> str | None:
    """The program that only receives, writes and hashes, built as the engine is and beside it; None without cargo."""
    if shutil.which("cargo") is None:
        return None
    target = REPOSITORY / "target"
    command = [
        "cargo",
        "build",
        "--release",
        "--quiet",
        "--manifest-path",
        str(LIMIT_SOURCE),
        "--target-dir",
        str(target),
    ]
    subprocess.run(command, check=True)
    return str(target / "release" / "limit")


def _floors(folder: Path) -> dict[str, str]:
    """The floor programs, compiled once a run: they use the standard library only."""
    if shutil.which("rustc") is None:
        return {}
    for program in FLOORS.values():
        if not (folder / program).exists():
            source = REPOSITORY / "engine" / "examples" / f"{program}.rs"
            subprocess.run(["rustc", "--edition", "2024", "-O", "-o", folder / program, source], check=True)
    return {name: str(folder / program) for name, program in FLOORS.items()}


def _first_line(command: list[str]) -> str:
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return "not installed"
    return " ".join(lines[0].split()[:3]) if lines else "unknown"
