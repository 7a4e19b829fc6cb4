"""``vasset ytdlp``: another yt-dlp than the installed one, proved before it is used. Registered by ``cli.py``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vasset.adapters.extract.channel import Channel
    from vasset.config import Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings.", exists=True, dir_okay=False)
]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Root of all files (VASSET_DATA_DIR).")]


def register(app: typer.Typer, load: Callable[..., Settings], exit_with: Callable[..., None]) -> None:
    """Add the command group to ``app``."""
    group = typer.Typer(
        help="Update yt-dlp without a release of V-Asset; running servers take it up by themselves.",
        no_args_is_help=True,
    )
    app.add_typer(group, name="ytdlp")

    @group.command()
    def status(config: ConfigOption = None, data_dir: DataOption = None) -> None:
        """Which yt-dlp is in use, and which are kept."""
        exit_with(_status, load(config, data_dir=data_dir))

    @group.command()
    def update(
        version: Annotated[str | None, typer.Argument(help="Such as 2026.10.26; default: the newest.")] = None,
        nightly: Annotated[bool, typer.Option("--nightly", help="Take pre-releases too.")] = False,
        config: ConfigOption = None,
        data_dir: DataOption = None,
    ) -> None:
        """Install a yt-dlp, let a canary read and merge with it, and switch to it. On any failure nothing changes."""
        exit_with(_update, load(config, data_dir=data_dir), version, nightly)

    @group.command()
    def rollback(config: ConfigOption = None, data_dir: DataOption = None) -> None:
        """Go back to the yt-dlp before the last update."""
        exit_with(_rollback, load(config, data_dir=data_dir))


def open_channel(settings: Settings) -> Channel:
    from vasset.adapters.extract.channel import Channel

    return Channel(settings.ytdlp_channel_dir or settings.data_dir / "ytdlp")


def _status(settings: Settings) -> int:
    found = open_channel(settings).status()
    sys.stdout.write(f"in use: {found.current or f'{found.installed} (installed)'}\n")
    sys.stdout.write(f"before: {found.previous or f'{found.installed} (installed)'}\n")
    sys.stdout.write(f"kept: {', '.join(found.available) or 'none'}\n")
    return 0


def _update(settings: Settings, version: str | None, nightly: bool) -> int:
    from vasset.telemetry.log import configure_logging

    configure_logging(format=settings.log_format, level="error")
    found = asyncio.run(open_channel(settings).update(version, nightly=nightly))
    sys.stdout.write(f"yt-dlp {found} passed the canary and is in use.\n")
    return 0


def _rollback(settings: Settings) -> int:
    target = open_channel(settings).rollback()
    sys.stdout.write(f"yt-dlp {target or '(installed)'} is in use again.\n")
    return 0
