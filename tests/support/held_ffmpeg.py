"""An ffmpeg that waits for permission, so that a test can act in the middle of a merge."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HeldFfmpeg:
    """`programs` goes first on PATH; the real ffmpeg runs once `release` was called."""

    programs: Path

    @property
    def _permission(self) -> Path:
        return self.programs / "go"

    def release(self) -> None:
        self._permission.touch()


def hold_ffmpeg(folder: Path) -> HeldFfmpeg:
    real = shutil.which("ffmpeg")
    assert real is not None
    programs = folder / "programs"
    programs.mkdir()
    held = HeldFfmpeg(programs)
    script = programs / "ffmpeg"
    wait = f"while [ ! -e {shlex.quote(str(programs / 'go'))} ]; do sleep 0.02; done"
    # Questions about versions and filters are answered at once; only work on files is held.
    script.write_text(f'#!/bin/sh\ncase "$*" in *-i*) {wait};; esac\nexec {shlex.quote(real)} "$@"\n')
    script.chmod(0o755)
    return held
