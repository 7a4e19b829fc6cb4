"""``vasset serve, get, doctor, migrate, version …``: the tree of commands, and how each of them ends.

Exit codes: 0 done · 1 failed · 2 wrong usage · 3 the address or choice was refused · 4 the site or the network failed ·
5 the disk refused · 6 a tool is missing · 130 interrupted (run the same command again to go on).

Nothing heavy is imported before a command is known: ``--help`` must answer at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

if TYPE_CHECKING:
    import typer

    from vasset.config import Settings

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_UPSTREAM, EXIT_DISK, EXIT_MISSING_TOOL, EXIT_INTERRUPTED = (
    1,
    2,
    3,
    4,
    5,
    6,
    130,
)


def serve_role(role: str) -> NoReturn:
    """Run one service, configured by its environment alone; the command tree is not built for it."""
    from vasset.bootstrap.roles import run_role

    _exit_with(run_role, role, _settings(None))


def get_videos(
    urls: list[str],
    output: Path | str = "",
    quality: str = "best",
    format: str = "mp4",
    subtitles: bool = True,
    json: bool = False,
    config: Path | None = None,
    cookies: str | None = None,
) -> NoReturn:
    """``vasset get``, once its command line has been read."""
    settings = _settings(config)
    _require_tools()
    from vasset.bootstrap.standalone import get as run

    code = 0
    for url in dict.fromkeys(urls):
        about = url if len(urls) > 1 else None
        ended = _outcome(
            run, settings, url, Path(output), quality, format, json, subtitles, cookies, as_json=json, about=about
        )
        if ended == EXIT_INTERRUPTED:
            raise SystemExit(ended)
        code = code or ended  # the first failure's; those after it are downloaded all the same
    raise SystemExit(code)


def application() -> "typer.Typer":
    """The command tree."""
    import typer

    app = typer.Typer(
        name="vasset",
        help="Video URL in, file you own out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 site or network, 5 disk, 6 missing tool, 130 interrupted.",
    )
    config_option = typer.Option(help="YAML file with settings.", exists=True, dir_okay=False)
    data_option = typer.Option(help="Root of all files (VASSET_DATA_DIR).")

    @app.command()
    def serve(
        host: Annotated[str | None, typer.Option(help="Address to bind (VASSET_HOST).")] = None,
        port: Annotated[int | None, typer.Option(help="Port to bind, 0 for a free one (VASSET_PORT).")] = None,
        data_dir: Annotated[Path | None, data_option] = None,
        config: Annotated[Path | None, config_option] = None,
    ) -> None:
        """Serve page, API and downloads in one process."""
        settings = _settings(config, host=host, port=port, data_dir=data_dir)
        _require_tools()
        from vasset.bootstrap.embedded import serve as run

        _exit_with(run, settings)

    @app.command()
    def get(
        urls: Annotated[list[str], typer.Argument(metavar="URL...", help="Addresses of the pages with the videos.")],
        output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the file.")] = Path(),
        quality: Annotated[str, typer.Option(help="best, 2160p … 360p, audio, or a format id.")] = "best",
        format: Annotated[str, typer.Option(help="mp4, mkv, webm, mp3, m4a, opus, flac or original.")] = "mp4",
        subtitles: Annotated[bool, typer.Option(help="Embed written subtitles, up to three languages.")] = True,
        json: Annotated[bool, typer.Option("--json", help="One line of JSON instead of a progress bar.")] = False,
        config: Annotated[Path | None, config_option] = None,
        cookies: Annotated[
            str | None, typer.Option(metavar="FILE", help="A browser's cookies.txt, for pages that need it.")
        ] = None,
    ) -> None:
        """Download videos without a server, one after another. The same command again goes on where it stopped."""
        get_videos(urls, output, quality, format, subtitles, json, config, cookies)

    @app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
    def fetch() -> None:
        """Download one file or playlist by its own URL: `vasset fetch URL -o FILE`; see `vasset fetch --help`."""

    @app.command()
    def doctor(
        fix: Annotated[bool, typer.Option("--fix", help="Repair what can be repaired.")] = False,
        data_dir: Annotated[Path | None, data_option] = None,
        config: Annotated[Path | None, config_option] = None,
    ) -> None:
        """Check that rows, outbox, quota ledger and disk agree. Exit code 1 when something is wrong and not repaired."""
        settings = _settings(config, data_dir=data_dir)
        from vasset.bootstrap.doctoring import doctor as run

        _exit_with(run, settings, fix)

    @app.command()
    def migrate(
        data_dir: Annotated[Path | None, data_option] = None, config: Annotated[Path | None, config_option] = None
    ) -> None:
        """Bring the database's schema to this version, as every start does; for doing it once before a rollout."""
        settings = _settings(config, data_dir=data_dir)
        from vasset.bootstrap.schema import migrate_command as run

        _exit_with(run, settings)

    @app.command()
    def version() -> None:
        """Versions of V-Asset, its engine and yt-dlp."""
        from importlib.metadata import version as installed

        print(f"vasset {installed('vasset')}, yt-dlp {installed('yt-dlp')}, Python {sys.version.split()[0]}")

    from vasset.bootstrap import service_commands, ytdlp_commands

    service_commands.register(app, _settings, _exit_with)
    ytdlp_commands.register(app, _settings, _exit_with)
    return app


def _settings(config: Path | None, **overrides: Any) -> "Settings":
    from pydantic import ValidationError

    from vasset.config import UnknownSetting, load_settings

    try:
        return load_settings(config, **overrides)
    except UnknownSetting as error:
        print(f"vasset: {error}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    except ValidationError as error:
        for problem in error.errors():
            name = "".join(f"VASSET_{str(part).upper()}: " for part in problem["loc"][:1])
            words = problem["msg"].removeprefix("Value error, ").removeprefix(name.removesuffix(": "))
            where = "" if problem["type"] == "value_error" else "; docs/configuration.md lists every setting"
            print(f"vasset: {name}{words.strip()}{where}", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None
    except (
        Exception
    ) as error:  # the file is YAML of another shape, or none at all: the parser has classes of its own for that
        if config is None:
            raise
        place = getattr(error, "problem_mark", None)
        line = f" (line {place.line + 1})" if place is not None else ""
        print(f"vasset: {config} cannot be read{line}; write one `name: value` a line, as YAML", file=sys.stderr)
        raise SystemExit(EXIT_USAGE) from None


def _require_tools() -> None:
    """One sentence and the command that installs it, instead of a stack trace later."""
    import shutil
    from importlib.util import find_spec

    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        print("vasset: ffmpeg is not installed; install it with `sudo apt-get install ffmpeg`.", file=sys.stderr)
        raise SystemExit(EXIT_MISSING_TOOL)
    if find_spec("vasset._engine") is None:
        print("vasset: the engine is not built; build it with `make build`.", file=sys.stderr)
        raise SystemExit(EXIT_MISSING_TOOL)


def _exit_with(run: Any, *arguments: Any) -> NoReturn:
    """Run a command to the end of the process."""
    raise SystemExit(_outcome(run, *arguments))


def _outcome(run: Any, *arguments: Any, as_json: bool = False, about: str | None = None) -> int:
    """Run a command to its exit code; failures we know are one sentence, or one line of JSON as ``vasset fetch`` prints it.

    ``about`` is which of several addresses it is, for the sentence to say.
    """
    from vasset.domain import errors

    codes: list[tuple[type[errors.VAssetError], int]] = [
        (errors.InvalidInput, EXIT_REFUSED),
        (errors.StorageFailed, EXIT_DISK),
        (errors.DiskPressure, EXIT_DISK),
        (errors.ExtractionFailed, EXIT_UPSTREAM),
        (errors.TransferFailed, EXIT_UPSTREAM),
    ]
    try:
        code = run(*arguments)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except errors.VAssetError as error:
        if as_json:
            import json

            which = {} if about is None else {"url": about}
            print(json.dumps({"error": {"code": error.reason, "message": error.message}, **which}))
        else:
            print(f"vasset: {about + ': ' if about else ''}{error.message}", file=sys.stderr)
        code = next((number for kind, number in codes if isinstance(error, kind)), EXIT_FAILED)
    return code or 0
