"""Who is measured: each tool as one command line, the environment it needs and the files it leaves."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.engine.origin import Origin, Served, fragment_name

REPOSITORY = Path(__file__).parents[2]
BENCH_PYTHON = REPOSITORY / ".cache" / "bench-venv" / "bin" / "python"
FLOOR_SOURCE = REPOSITORY / "engine" / "examples" / "floor_recv.rs"
HF_SCRIPT = "import sys, hf_transfer; hf_transfer.download(sys.argv[1], sys.argv[2], max_files=8, chunk_size=10485760)"
CLIENT = "vasset"


@dataclass(frozen=True, slots=True)
class Peer:
    """``outputs`` joined in order must have the digest of what was served."""

    name: str
    command: tuple[str, ...]
    outputs: tuple[Path, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def shown(self, origin: Origin) -> str:
        """The command as a reader would type it: no folder or port of this run."""
        assignments = [f"{key}={value}" for key, value in self.environment.items()]
        text = " ".join([*assignments, *(f"'{word}'" if " " in word else word for word in self.command)])
        for found, said in (
            (str(origin.folder), "DIR"),
            (str(Path(sys.executable).parent) + "/", ""),
            (str(BENCH_PYTHON), "python"),
            (str(REPOSITORY) + "/", ""),
            (str(origin.http_port), "PORT"),
            (str(origin.https_port), "PORT"),
        ):
            text = text.replace(found, said)
        return text


def single_file(origin: Origin, served: Served, *, tls: bool = False, slow: bool = False) -> list[Peer]:
    """Everybody who can fetch one file; those not installed are left out and named by ``missing``."""
    url = origin.url(served.name, tls=tls, slow=slow)
    out = origin.folder / "out"
    authority = str(origin.ca_file)
    ours = {"VASSET_EGRESS_ALLOW": "127.0.0.1"} | ({"VASSET_CA_FILE": authority} if tls else {})
    client = str(Path(sys.executable).parent / "vasset")
    widest = ("-x16", "-s16", "-k1M") if slow else ("-x4", "-s4")
    peers = [
        _peer(CLIENT, out, (client, "fetch", "-q", url, "-o"), environment=ours),
        _peer("vasset, no hash", out, (client, "fetch", "-q", "--hash", "none", url, "-o"), environment=ours),
        _peer("curl", out, ("curl", "-s", "-f", *(("--cacert", authority) if tls else ()), url, "-o")),
    ]
    if shutil.which("aria2c"):
        verify = (f"--ca-certificate={authority}",) if tls else ()
        options = ("--no-conf", "-q", *widest, "--file-allocation=none", *verify, "-d", str(out), url, "-o")
        peers.append(Peer("aria2", ("aria2c", *options, "aria2.mp4"), (out / "aria2.mp4",)))
    if not tls and (python := _hf_python()):
        peers.append(_peer("hf_transfer", out, (python, "-c", HF_SCRIPT, url)))
    if not slow and importlib.util.find_spec("yt_dlp"):
        trust = ("--compat-options", "no-certifi") if tls else ()
        options = ("-q", "--ignore-config", "--no-part", *trust, url, "-o")
        program = str(Path(sys.executable).parent / "yt-dlp")
        peers.append(_peer("yt-dlp", out, (program, *options), environment={"SSL_CERT_FILE": authority} if tls else {}))
    if not tls and not slow and (floor := _floor(origin.folder)):
        peers.append(_peer("floor: recv + pwrite", out, (floor, url)))
    return peers


def fragments(origin: Origin, served: Served, count: int) -> list[Peer]:
    """The same list joined by the engine and yt-dlp, and fetched unjoined by one curl with 16 transfers at once."""
    out = origin.folder / "out"
    url = origin.url(served.name)
    client = str(Path(sys.executable).parent / "vasset")
    lists = origin.folder / "curl.conf"
    parts = [out / fragment_name(index) for index in range(count)]
    lists.write_text("".join(f'url = "{origin.url(part.name)}"\noutput = "{part}"\n' for part in parts))
    peers = [
        _peer(CLIENT, out, (client, "fetch", "-q", url, "-o"), environment={"VASSET_EGRESS_ALLOW": "127.0.0.1"}),
        Peer("curl", ("curl", "-s", "-f", "-Z", "--parallel-max", "16", "-K", str(lists)), tuple(parts)),
    ]
    if importlib.util.find_spec("yt_dlp"):
        program = str(Path(sys.executable).parent / "yt-dlp")
        options = ("-q", "--ignore-config", "--fixup", "never", "--downloader", "native", "-N", "16", url, "-o")
        peers.append(_peer("yt-dlp", out, (program, *options)))
    return peers


def missing() -> list[str]:
    """Tools this machine lacks, so that a reader does not take their absence for a choice."""
    found = {
        "aria2": shutil.which("aria2c"),
        "hf_transfer": _hf_python(),
        "yt-dlp": importlib.util.find_spec("yt_dlp"),
        "floor (needs rustc)": shutil.which("rustc"),
    }
    return [name for name, where in found.items() if not where]


def versions() -> dict[str, str]:
    commands = {
        "curl": ["curl", "--version"],
        "aria2": ["aria2c", "--version"],
        "yt-dlp": [str(Path(sys.executable).parent / "yt-dlp"), "--version"],
        "openssl": ["openssl", "version"],
    }
    if python := _hf_python():
        version = "from importlib.metadata import version; print(version('hf_transfer'))"
        commands["hf_transfer"] = [python, "-c", version]
    return {name: _first_line(command) for name, command in commands.items()}


def _peer(name: str, out: Path, command: tuple[str, ...], *, environment: dict[str, str] | None = None) -> Peer:
    target = out / f"{name.split(':')[0].replace(', ', '-').replace(' ', '-')}.mp4"
    return Peer(name, (*command, str(target)), (target,), environment or {})


def _hf_python() -> str | None:
    if importlib.util.find_spec("hf_transfer"):
        return sys.executable
    if BENCH_PYTHON.exists():
        found = subprocess.run([BENCH_PYTHON, "-c", "import hf_transfer"], capture_output=True, check=False)
        return str(BENCH_PYTHON) if found.returncode == 0 else None
    return None


def _floor(folder: Path) -> str | None:
    """The floor program, compiled once a run: it uses the standard library only."""
    program = folder / "floor_recv"
    if not program.exists():
        if shutil.which("rustc") is None:
            return None
        subprocess.run(["rustc", "--edition", "2024", "-O", "-o", program, FLOOR_SOURCE], check=True)
    return str(program)


def _first_line(command: list[str]) -> str:
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return "not installed"
    return " ".join(lines[0].split()[:3]) if lines else "unknown"
