"""The image's own steps, in a clean folder: what `docker build` would run, without a container engine.

It compiles the engine once more, so it runs when asked: ``IMAGE_STEPS=1`` borrows the compiled crates and the installed Python
packages of this checkout (minutes); ``IMAGE_STEPS=full`` compiles and installs everything afresh, as ``docker build`` does.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
ASKED = os.environ.get("IMAGE_STEPS", "")
LONG = ASKED == "full"
NOBODY = 10001
pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not ASKED, reason="compiles the engine again; IMAGE_STEPS=1 asks for it"),
]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `COPY . .` would copy: the sources git knows, filtered by deploy/Dockerfile.dockerignore."""
    folder = tmp_path_factory.mktemp("image") / "src"
    rules = (TOP / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    dropped = [rule for rule in rules if rule and not rule.startswith(("!", "#")) and rule != "*"]
    for name in _sources():
        inside = any(name == top or name.startswith(f"{top}/") for top in kept)
        out = any(fnmatch(f"/{name}", f"*{rule.removeprefix('**')}*") for rule in dropped)
        if inside and not out:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TOP / name, folder / name)
    return folder


def _sources() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=TOP, capture_output=True, text=True, timeout=60, check=False
    )
    if listing.returncode == 0:
        return [name for name in listing.stdout.split("\0") if name and (TOP / name).is_file()]
    return [str(path.relative_to(TOP)) for path in TOP.rglob("*") if path.is_file() and not _is_built(path)]


def _is_built(path: Path) -> bool:
    return bool({".venv", "target", "node_modules", ".git", "data"} & set(path.relative_to(TOP).parts))


@pytest.fixture(scope="module")
def wheel(context: Path) -> Path:
    """The first stage's last step."""
    environment = dict(os.environ)
    if not LONG:
        environment["CARGO_TARGET_DIR"] = str(TOP / "target")
    subprocess.run(
        ["deploy/image/build-wheel", str(context.parent / "wheels")], cwd=context, env=environment, check=True
    )
    [built] = (context.parent / "wheels").glob("vasset-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The second stage's step: a fresh environment with the wheel. Others must be able to read it, as in the image."""
    folder = wheel.parents[1] / "opt"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if not LONG:
        environment |= {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PYTHONPATH": sysconfig.get_path("purelib")}
    subprocess.run([TOP / "deploy" / "image" / "install-wheel", wheel.parent, folder], env=environment, check=True)
    return folder


def test_the_wheel_holds_the_page_the_stubs_the_migrations_and_the_engine(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = {
        name
        for name in _sources()
        if name.startswith("vasset/") and name.endswith((".py", ".pyi", ".js", ".css", ".html"))
    }
    assert tracked <= names, sorted(tracked - names)[:10]
    assert any(name.startswith("vasset/_engine") and name.endswith(".so") for name in names)
    assert not any("__pycache__" in name or name.startswith(("tests/", "web/")) for name in names)


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 12 * 2**20


def test_help_answers_in_the_fresh_environment(installed: Path) -> None:
    answer = subprocess.run(
        [installed / "bin" / "vasset", "--help"],
        env=_runtime(installed),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "serve" in answer.stdout


def test_it_serves_as_nobody_from_a_folder_it_may_not_write(installed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with _running(installed, data) as url:
        for path, words in (("/readyz", b""), ("/", b"<title>V-Asset</title>")):
            with urllib.request.urlopen(url + path, timeout=10) as response:
                assert response.status == 200
                assert words in response.read()
        owners = {path.stat().st_uid for path in data.rglob("*")}
        assert owners == {NOBODY if _can_become_nobody(installed) else os.getuid()}


def _runtime(installed: Path) -> dict[str, str]:
    """The environment of the Dockerfile, and in the short form the borrowed packages."""
    text = (TOP / "deploy" / "Dockerfile").read_text()
    values = dict(re.findall(r"^(?:ENV|   ) (\w+)=(\S+)", text, re.MULTILINE))
    values["PATH"] = f"{installed}/bin:{os.environ['PATH']}"
    if not LONG:
        values["PYTHONPATH"] = sysconfig.get_path("purelib")
    return values


def _can_become_nobody(installed: Path) -> bool:
    """Only root can, and only where others may pass every folder on the way to what is run."""
    needed = [installed, Path(sys.executable).resolve(), Path(sysconfig.get_path("purelib"))]
    folders = {parent for path in needed for parent in path.parents}
    return os.getuid() == 0 and all(folder.stat().st_mode & stat.S_IXOTH for folder in folders)


class _running:
    """`vasset serve` by the installed program, as the image would start it."""

    def __init__(self, installed: Path, data: Path) -> None:
        self._installed, self._data = installed, data
        self._lines: list[str] = []
        self._ready = threading.Event()

    def __enter__(self) -> str:
        identity = {}
        if _can_become_nobody(self._installed):
            os.chown(self._data, NOBODY, NOBODY)
            identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        arguments = ["serve", "--host", "127.0.0.1", "--port", "0", "--data-dir", str(self._data)]
        self._process = subprocess.Popen(
            [str(self._installed / "bin" / "vasset"), *arguments],
            env=_runtime(self._installed),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **identity,  # type: ignore[call-overload]
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(60), "".join(self._lines)
        found = re.search(r"http://[\d.]+:\d+", "".join(self._lines))
        assert found, "".join(self._lines)
        return found[0]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if "V-Asset is ready on" in line:
                self._ready.set()
        self._ready.set()

    def __exit__(self, *_: object) -> None:
        started = time.monotonic()
        self._process.terminate()
        assert self._process.wait(timeout=40) == 0, "".join(self._lines)
        assert time.monotonic() - started < 30
        self._reader.join(10)


@pytest.fixture(autouse=True, scope="module")
def tidy(context: Path) -> Iterator[None]:
    """The borrowed target folder may be changed by the build, the sources may not."""
    yield
    changed = [
        name
        for name in _sources()
        if (context / name).exists() and (context / name).read_bytes() != (TOP / name).read_bytes()
    ]
    assert not [name for name in changed if name == "Cargo.lock"]
