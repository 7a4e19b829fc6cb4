"""The only programs a child can start: ffmpeg and ffprobe behind the gate, deno without the address-space limit."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

DENO_DATA_KIB = 2 * 2**20
GATE = Path(__file__).with_name("ffmpeg_gate.py")
MISSING_FFMPEG = "ffmpeg is not installed; install it with `sudo apt-get install ffmpeg` and start the download again"


@dataclass(frozen=True, slots=True)
class Programs:
    """``folder`` is the children's whole PATH."""

    folder: Path
    has_ffmpeg: bool
    deno: Path | None


def install_programs(folder: Path) -> Programs:
    """Write the wrappers into ``folder`` (created, 0700). A program that is not installed is left out."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = {name: _find(name) for name in ("ffmpeg", "ffprobe")}
    for name, program in found.items():
        if program is not None:
            gate = [sys.executable, "-I", "-S", str(GATE), name, str(program)]
            _write(folder / name, f'exec {shlex.join(gate)} "$@"')
    deno = _find("deno")
    if deno is not None:
        # V8 reserves address space by the gigabyte without using it: what it may write (kibibytes) is bounded instead.
        command = shlex.join([str(deno)])
        _write(folder / "deno", f'ulimit -S -v "$(ulimit -H -v)" && ulimit -d {DENO_DATA_KIB} && exec {command} "$@"')
    return Programs(folder, found["ffmpeg"] is not None, folder / "deno" if deno is not None else None)


def expose_plugins(folder: Path, plugins: Path) -> Path:
    """A folder yt-dlp takes for its plugin folder and that holds nothing but the operator's: yt-dlp looks one level deeper."""
    exposed = folder / "plugins"
    exposed.mkdir(exist_ok=True, mode=0o700)
    link = exposed / "operator"
    link.unlink(missing_ok=True)
    link.symlink_to(plugins.resolve(), target_is_directory=True)
    return exposed


def _find(name: str) -> Path | None:
    beside = Path(sys.executable).parent / name
    found = shutil.which(name) or (str(beside) if beside.is_file() else None)
    return Path(found).resolve() if found else None


def _write(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o700)
