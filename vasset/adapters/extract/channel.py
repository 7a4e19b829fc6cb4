"""The update lane: another yt-dlp than the installed one, without a release of ours.

``FOLDER/<version>/`` holds one yt-dlp each, ``current`` names the one in use and ``previous`` the one before it. Nothing becomes
``current`` before a canary has read a page and merged a file with it. Servers look at ``current`` before each job and start new
children when it changed; running jobs end on the old ones. No ``current`` means the installed yt-dlp.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path

from vasset.adapters.extract.canary import prove
from vasset.domain.errors import Conflict, InvalidInput, Unavailable

VERSION = re.compile(r"[0-9]{4}\.[0-9]{1,2}\.[0-9]{1,2}(?:\.[0-9A-Za-z]+)*\Z")
CURRENT, PREVIOUS = "current", "previous"
INSTALL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """``current`` and ``previous`` are None where the installed yt-dlp is meant."""

    installed: str
    current: str | None
    previous: str | None
    available: tuple[str, ...]


class Channel:
    """One folder of versions. Reading it never fails: a damaged link counts as none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def active(self) -> Path | None:
        """Where the children find yt-dlp; None for the installed one."""
        name = self._named(CURRENT)
        return (self._folder / name).resolve() if name is not None else None

    def status(self) -> ChannelStatus:
        found = self._folder.iterdir() if self._folder.is_dir() else ()
        available = sorted(path.name for path in found if path.is_dir() and VERSION.match(path.name))
        return ChannelStatus(version("yt-dlp"), self._named(CURRENT), self._named(PREVIOUS), tuple(available))

    async def update(self, wanted: str | None = None, *, nightly: bool = False) -> str:
        """Install, prove and switch to ``wanted`` (default: the newest). Answers the version; on any failure nothing changed.

        Raises ``InvalidInput``, ``Unavailable`` when it cannot be installed, ``ExtractionFailed`` or ``PostprocessFailed``
        when the canary failed.
        """
        if wanted is not None and not VERSION.match(wanted):
            raise InvalidInput(f"{wanted[:40]!r} is not a yt-dlp version; they look like 2026.10.26")
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._folder))
        try:
            await _install(f"yt-dlp=={wanted}" if wanted else "yt-dlp", incoming, nightly=nightly)
            if (scripts := _challenge_solver(incoming)) is not None:
                await _install(scripts, incoming, nightly=False)
            return await self.adopt(incoming)
        finally:
            await asyncio.to_thread(shutil.rmtree, incoming, True)

    async def adopt(self, candidate: Path) -> str:
        """Prove the yt-dlp below ``candidate`` and make it ``current``; its folder is moved into the channel."""
        found = await prove(candidate)
        home = self._folder / found
        if not VERSION.match(found):
            raise Unavailable(f"the candidate calls itself {found[:40]!r}, which is no version")
        if home.exists():
            await asyncio.to_thread(shutil.rmtree, home)
        candidate.chmod(0o755)
        candidate.rename(home)
        if self._named(CURRENT) != found:
            self._link(PREVIOUS, self._named(CURRENT))
        self._link(CURRENT, found)
        return found

    def rollback(self) -> str | None:
        """Back to the version before; answers it, None for the installed one. Raises ``Conflict`` when nothing was updated."""
        if self._named(CURRENT) is None:
            raise Conflict("the installed yt-dlp is in use already; there is nothing to go back to")
        target = self._named(PREVIOUS)
        self._link(CURRENT, target)
        self._link(PREVIOUS, None)
        return target

    def _named(self, link: str) -> str | None:
        try:
            name = os.readlink(self._folder / link)  # noqa: PTH115  called before every job
        except OSError:
            return None
        return name if VERSION.match(name) and (self._folder / name / "yt_dlp").is_dir() else None

    def _link(self, link: str, name: str | None) -> None:
        """Replace the link in one step; readers see the old or the new one."""
        path = self._folder / link
        if name is None:
            path.unlink(missing_ok=True)
            return
        fresh = self._folder / f".{link}-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(name)
        fresh.replace(path)


async def _install(requirement: str, target: Path, *, nightly: bool) -> None:
    """By pip, or by uv where pip is not installed; both read the operator's own index settings."""
    options = ["--target", str(target), "--no-deps", "--upgrade", requirement]
    prerelease = ["--pre"] if nightly else []
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", *prerelease]
    uv = shutil.which("uv")
    allow = ["--prerelease", "allow"] if nightly else []
    command = (
        pip
        if _has_pip() or uv is None
        else [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", sys.executable, *allow]
    )
    process = await asyncio.create_subprocess_exec(
        *command,
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            _, complaint = await process.communicate()
    except TimeoutError as error:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise Unavailable(f"installing {requirement} took longer than {INSTALL_SECONDS:g} seconds") from error
    if process.returncode != 0:
        words = complaint.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise Unavailable(f"{requirement} could not be installed: {words[-1][:300]}")


def _has_pip() -> bool:
    with contextlib.suppress(Exception):
        return bool(version("pip"))
    return False


def _challenge_solver(target: Path) -> str | None:
    """The exact ``yt-dlp-ejs`` this yt-dlp asks for: another one is refused by it at run time."""
    for distribution in distributions(path=[str(target)]):
        for requirement in distribution.requires or ():
            if match := re.match(r"yt-dlp-ejs\s*(==\s*[0-9A-Za-z.]+)", requirement):
                return "yt-dlp-ejs" + match[1].replace(" ", "")
    return None
