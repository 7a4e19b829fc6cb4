"""The commands of the distributed deployment: roles, ``cluster``, ``workers``, ``dlq``. Registered by ``cli.py``."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from vasset.config import Settings
    from vasset.domain.ports import WorkerState
    from vasset.services.downloader.client import WorkerClient

Answer = TypeVar("Answer")
LoadSettings = Callable[..., "Settings"]
ExitWith = Callable[..., None]

ROLES = {
    "gateway": "Serve HTTP, WebSocket and the page; the other services do the work (port 8080).",
    "auth": "Serve accounts and sessions over gRPC (port 9001).",
    "parser": "Serve URL to metadata over gRPC (port 9002).",
    "downloader": "Run downloads; serve worker state over gRPC (port 9003).",
    "asset": "Serve history, quota and statistics over gRPC (port 9004).",
}

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings.", exists=True, dir_okay=False)
]
AddressOption = Annotated[
    list[str] | None,
    typer.Option("--at", help="host:port of a downloader; repeat for several (VASSET_DOWNLOADER_ADDRESS)."),
]
TasksArgument = Annotated[list[str] | None, typer.Argument(help="Task ids; none: all.")]
ReasonOption = Annotated[str | None, typer.Option(help="Only failures with this reason, such as extraction_failed.")]


def register(app: typer.Typer, load: LoadSettings, exit_with: ExitWith) -> None:
    """Add the commands to ``app``. ``load`` makes settings, ``exit_with`` runs a function to the process's exit code."""
    for name, summary in ROLES.items():
        app.command(name, help=summary)(_role_command(name, load, exit_with))

    @app.command()
    def cluster(
        data_dir: Annotated[Path, typer.Option(help="Folder for the servers' data and all files.")] = Path(
            "data-cluster"
        ),
        port: Annotated[int, typer.Option(help="Port of the gateway, 0 for a free one.")] = 8080,
        workers: Annotated[int, typer.Option(min=1, max=16, help="Downloaders to run.")] = 1,
    ) -> None:
        """Start PostgreSQL, Redis, RabbitMQ and the five services on this machine; Ctrl-C stops all of it."""
        from vasset.bootstrap.cluster import run_cluster
        from vasset.bootstrap.local_servers import ServerFailed, ServerMissing

        try:
            exit_with(run_cluster, data_dir, port, workers)
        except (ServerMissing, ServerFailed) as error:
            print(f"vasset: {error}", file=sys.stderr)
            raise SystemExit(1) from None

    app.add_typer(_workers(load, exit_with), name="workers")
    app.add_typer(_dead_letters(load, exit_with), name="dlq")


def _role_command(name: str, load: LoadSettings, exit_with: ExitWith) -> Callable[..., None]:
    def command(config: ConfigOption = None) -> None:
        settings = load(config)
        from vasset.bootstrap.roles import run_role

        exit_with(run_role, name, settings)

    return command


def _workers(load: LoadSettings, exit_with: ExitWith) -> typer.Typer:
    app = typer.Typer(help="See and steer running downloaders.", no_args_is_help=True)

    @app.command("list")
    def show(at: AddressOption = None, config: ConfigOption = None) -> None:
        """What each downloader does now."""
        exit_with(_each_worker, load(config), at, lambda worker: worker.state(), _describe)

    @app.command()
    def resize(
        slots: Annotated[int, typer.Argument(min=1, max=10_000, help="Downloads at a time.")],
        at: AddressOption = None,
        config: ConfigOption = None,
    ) -> None:
        """Change how many downloads run at a time; running ones are never interrupted."""
        exit_with(_each_worker, load(config), at, lambda worker: worker.resize(slots), _describe)

    @app.command()
    def drain(at: AddressOption = None, config: ConfigOption = None) -> None:
        """Stop taking downloads and hand the running ones to other workers."""
        exit_with(_each_worker, load(config), at, lambda worker: worker.drain(), _describe)

    return app


def _dead_letters(load: LoadSettings, exit_with: ExitWith) -> typer.Typer:
    app = typer.Typer(help="Downloads that failed for good.", no_args_is_help=True)

    def letters(
        settings: Settings, use: Callable[[WorkerClient], Awaitable[Answer]], show: Callable[[Answer], str]
    ) -> int:
        """Dead letters are rows of all workers: one of them is asked."""
        first = _every_address(settings.downloader_address, by_name=True)[:1]
        return _each_worker(settings, first, use, lambda _, answer: show(answer))

    @app.command("list")
    def show_all(
        limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most this many, newest first.")] = 50,
        reason: ReasonOption = None,
        config: ConfigOption = None,
    ) -> None:
        """One line each: when, task, attempts, reason, message."""
        exit_with(letters, load(config), lambda worker: worker.list(limit=limit, reason=reason), _lines)

    @app.command()
    def show(task_id: Annotated[str, typer.Argument(help="Task id.")], config: ConfigOption = None) -> None:
        """The whole message of one dead letter, as JSON."""

        def found(all_letters: Any) -> str:
            chosen = [letter for letter in all_letters if letter.task_id == task_id]
            if not chosen:
                return f"no dead letter names the task {task_id}"
            return json.dumps(json.loads(chosen[0].body) | {"error": chosen[0].message}, indent=2, ensure_ascii=False)

        exit_with(letters, load(config), lambda worker: worker.list(limit=1_000), found)

    @app.command()
    def replay(task_ids: TasksArgument = None, reason: ReasonOption = None, config: ConfigOption = None) -> None:
        """Queue them again, at no cost to their users' quota."""
        exit_with(
            letters, load(config), lambda worker: worker.replay(task_ids or [], reason=reason), _counted("queued")
        )

    @app.command()
    def purge(task_ids: TasksArgument = None, reason: ReasonOption = None, config: ConfigOption = None) -> None:
        """Take them off the list; the downloads stay failed."""
        exit_with(letters, load(config), lambda worker: worker.purge(task_ids or [], reason=reason), _counted("purged"))

    return app


def _each_worker(
    settings: Settings,
    addresses: list[str] | None,
    use: Callable[[WorkerClient], Awaitable[Answer]],
    show: Callable[[str, Answer], str],
) -> int:
    """Ask every named worker in turn and print what it says; exit code 1 when one did not answer."""
    from vasset.bootstrap.distributed import service_token, tls_files
    from vasset.domain.errors import VAssetError
    from vasset.services.client import open_channel
    from vasset.services.downloader.client import IDEMPOTENT, WorkerClient

    token, tls = service_token(settings), tls_files(settings)

    async def ask() -> int:
        code = 0
        for address in addresses or _every_address(settings.downloader_address, by_name=tls is not None):
            channel = open_channel(address, idempotent=IDEMPOTENT, tls=tls)
            try:
                answer = await use(WorkerClient(channel, token, timeout_seconds=settings.grpc_timeout_seconds))
                print(show(address, answer))
            except VAssetError as error:
                print(f"{address}: {error.message}", file=sys.stderr)
                code = 1
            finally:
                await channel.close()
        return code

    return asyncio.run(ask())


def _every_address(configured: str, *, by_name: bool) -> list[str]:
    """All workers behind ``VASSET_DOWNLOADER_ADDRESS``: a list by commas, and every address a DNS name stands for.

    ``by_name`` leaves names as they are, which certificates are made out to.
    """
    found: dict[str, None] = {}
    for address in configured.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            resolved = [] if by_name else socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError:
            resolved = []  # gRPC says it in words
        for *_, (ip, *_rest) in resolved:
            found[f"[{ip}]:{port}" if ":" in str(ip) else f"{ip}:{port}"] = None
        if not resolved:
            found[address.strip()] = None
    return list(found)


def _describe(address: str, state: WorkerState) -> str:
    words = f"{address}  {state.name}  {len(state.task_ids)} running of {state.slots}"
    if state.draining:
        words += "  draining"
    if state.waiting_for:
        words += f"  waiting: {state.waiting_for}"
    rested = [key for key, breaker in state.breakers.items() if breaker != "closed"]
    if rested:
        words += f"  left alone: {', '.join(rested)}"
    return words + f"  yt-dlp {state.extractor_version}"


def _lines(letters: Any) -> str:
    return (
        "\n".join(
            f"{letter.failed_at:%Y-%m-%d %H:%M:%S}  {letter.task_id}  {letter.attempt}  {letter.reason}  {letter.message}"
            for letter in letters
        )
        or "no dead letters"
    )


def _counted(verb: str) -> Callable[[int], str]:
    return lambda count: f"{count} {verb}"
