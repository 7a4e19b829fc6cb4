"""Generate the gRPC stubs beside their protos, or with --check fail when the committed ones differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("vasset/services/proto")


def generate(output: Path) -> None:
    binaries = Path(sys.executable).parent
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / FOLDER).glob("*.proto"))
    flags = [f"--{kind}={output}" for kind in ("python_out", "mypy_out", "grpc_python_out", "mypy_grpc_out")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I.", *flags, *protos],
        cwd=ROOT,
        check=True,
        env={"PATH": f"{binaries}{os.pathsep}/usr/bin:/bin"},
    )


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = sorted((Path(folder) / FOLDER).glob("*_pb2*"))
        stale = [path.name for path in fresh if not _same(path, ROOT / FOLDER / path.name)]
        if "--check" in sys.argv:
            if stale:
                sys.stderr.write(f"gRPC stubs are out of date ({', '.join(stale)}); run: make generated\n")
            return bool(stale)
        for path in fresh:
            shutil.copy(path, ROOT / FOLDER / path.name)
    return 0


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
