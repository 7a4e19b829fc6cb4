"""``vasset get``: the same extraction, engine and post-processing as the server's, without a server or a database.

Unfinished files wait in ``DIR/.vasset/{key}/``, where the key follows from address, quality and format: the same command goes on there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vasset.config import Settings
from vasset.domain.download import Phase
from vasset.domain.errors import InvalidInput, StorageFailed
from vasset.domain.media import Container, Cookie, is_quality
from vasset.domain.ports import TransferSnapshot

if TYPE_CHECKING:
    from vasset.usecases.acquire_media import Acquisition

EXIT_INTERRUPTED = 130
REFRESH_SECONDS = 0.1
MOST_COOKIES = 2 * 2**20  # characters: a browser's whole jar is a tenth of it


class Display(Protocol):
    """Whoever shows the progress of one download."""

    def phase(self, phase: Phase) -> None: ...

    def show(self, title: str | None, snapshot: TransferSnapshot | None) -> None: ...


class Silent:
    """For programs: the one line of JSON at the end says all."""

    def phase(self, phase: Phase) -> None:
        return

    def show(self, title: str | None, snapshot: TransferSnapshot | None) -> None:
        return


def get(
    settings: Settings,
    url: str,
    output: Path,
    quality: str,
    container: str,
    as_json: bool,
    with_subtitles: bool = True,
    cookies: str | None = None,
) -> int:
    """Download one video into ``output``. Answers the exit code; raises ``VAssetError`` in words.

    ``cookies`` is a file of them, for every page and what it leads to.
    """
    import uvloop

    with _unavailable(
        "rich"
    ):  # structlog would load it for coloured tracebacks, a tenth of what a short download takes
        from vasset.telemetry.log import configure_logging

    # The one sentence at the end says what went wrong; yt-dlp's own words are for whoever asks for them.
    configure_logging(format=settings.log_format, level="debug" if settings.log_level == "debug" else "critical")
    if str(output) in {"-", "/dev/stdout"}:
        raise InvalidInput(
            "-o names a folder: what is not yet complete and verified is shown to nobody, so there is no stream to give"
        )
    if not is_quality(quality):
        raise InvalidInput(f"{quality[:64]!r} is not a quality; use best, 2160p … 360p, audio or a format id")
    if container not in set(Container):
        raise InvalidInput(f"{container[:64]!r} is not a format; use one of {', '.join(Container)}")
    own = _cookies(cookies) if cookies is not None else ()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(
            _interruptible(settings, url, output, quality, Container(container), as_json, with_subtitles, own)
        )


@cache  # of several addresses the second would find a pipe empty
def _cookies(path: str) -> tuple[Cookie, ...]:
    from vasset.adapters.fetch.cookies import read_fields

    try:
        found = tuple(Cookie(**fields) for fields in read_fields(path))
    except OSError as error:
        raise InvalidInput(f"cannot read the cookies in {path} ({error.strerror})") from error
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    if (
        sum(len(cookie.name) + len(cookie.value) + len(cookie.domain) + len(cookie.path) for cookie in found)
        > MOST_COOKIES
    ):
        raise InvalidInput(
            f"{path} holds more than {MOST_COOKIES >> 20} MiB of cookies; export those of the site alone"
        )
    return found


async def _interruptible(
    settings: Settings,
    url: str,
    output: Path,
    quality: str,
    container: Container,
    as_json: bool,
    with_subtitles: bool,
    cookies: Sequence[Cookie],
) -> int:
    loop = asyncio.get_running_loop()
    with _display(as_json) as display:
        running = _Running()
        work = asyncio.ensure_future(
            _get(settings, url, output, quality, container, display, running, with_subtitles, cookies)
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.stop, work)
        await asyncio.wait({work})
    if work.cancelled():
        sys.stderr.write(f"Stopped. {_next_time(running.workspace)}\n")
        return EXIT_INTERRUPTED
    result = work.result()
    if as_json:
        sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    else:
        for remark in result["remarks"]:
            sys.stderr.write(f"Note: {remark}.\n")
        sys.stdout.write(f"{result['path']}\n")
    return 0


def _next_time(workspace: Path | None) -> str:
    """Whether there is anything to go on from: a page that was still being read leaves nothing."""
    kept = workspace is not None and any(path.suffix != ".json" and path.stat().st_size for path in workspace.iterdir())
    return "Run the same command again to go on where it stopped." if kept else "Nothing had arrived yet."


class _Running:
    """What Ctrl-C means: the first one makes a file of a live recording; everything else is stopped."""

    def __init__(self) -> None:
        self.acquisition: Acquisition | None = None
        self.workspace: Path | None = None
        self._asked = False

    def stop(self, work: asyncio.Future[dict[str, Any]]) -> None:
        if self.acquisition is None or not self.acquisition.is_recording or self._asked:
            work.cancel()
            return
        self._asked = True
        sys.stderr.write("Making a file of what was recorded; press Ctrl-C again to stop without it.\n")
        self.acquisition.finish()


async def _get(
    settings: Settings,
    url: str,
    output: Path,
    quality: str,
    container: Container,
    display: Display,
    running: _Running,
    with_subtitles: bool,
    cookies: Sequence[Cookie],
) -> dict[str, Any]:
    from vasset.bootstrap.media_tools import open_media_tools
    from vasset.domain.ports import ExtractionRequest
    from vasset.usecases.acquire_media import Acquisition
    from vasset.usecases.submit_download import compatible_container
    from vasset.worker.slots import Slots

    started = time.monotonic()
    container = compatible_container(quality, container)
    workspace = _workspace(output, url, quality, container, with_subtitles)
    running.workspace = workspace
    one = Slots(1)
    async with open_media_tools(settings, children=1, lasting=False) as tools:
        request = ExtractionRequest(
            url=tools.canonicalise(url),
            quality=quality,
            container=container,
            task_id=workspace.name,
            workspace=workspace,
            timeout_seconds=settings.extraction_timeout_seconds,
            with_subtitles=with_subtitles,
            cookies=cookies,
        )
        acquisition = Acquisition(
            extractor=tools.extractor,
            fetcher=tools.fetcher,
            storage=None,
            extraction_gate=one,
            postprocess_gate=one,
            request=request,
            max_bytes=settings.max_file_bytes,
            on_phase=display.phase,
            live_seconds=settings.live_max_seconds,
        )
        running.acquisition = acquisition
        watching = asyncio.ensure_future(_watch(acquisition, display))
        try:
            media = await acquisition.complete(await acquisition.extract())
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    path = await asyncio.to_thread(_publish, media.path, output, media.title, media.ext)
    shutil.rmtree(workspace, ignore_errors=True)
    _remove_if_empty(workspace.parent)
    return {
        "path": str(path),
        "size": path.stat().st_size,
        "hash": media.digest[1],
        "hash_algorithm": media.digest[0],
        "title": media.title,
        "duration": media.duration_seconds,
        "seconds": round(time.monotonic() - started, 3),
        "remarks": list(media.remarks),
    }


async def _watch(acquisition: Acquisition, display: Display) -> None:
    while True:
        display.show(acquisition.title, acquisition.snapshot())
        await asyncio.sleep(REFRESH_SECONDS)


def _workspace(output: Path, url: str, quality: str, container: Container, with_subtitles: bool) -> Path:
    wishes = (url, quality, container) if with_subtitles else (url, quality, container, "without subtitles")
    key = hashlib.sha256("\n".join(wishes).encode()).hexdigest()[:24]
    workspace = output / ".vasset" / key
    try:
        workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(f"cannot write in {output} ({error.strerror}); choose another folder with -o") from error
    return workspace.resolve()


def _publish(source: Path, output: Path, title: str, ext: str) -> Path:
    """As the server does: durable first, then a rename that replaces nothing."""
    from vasset.adapters.storage.beneath import fsync_path, rename_no_replace
    from vasset.adapters.storage.titles import safe_ext, safe_title

    stem, suffix = safe_title(title), safe_ext(ext)
    try:
        fsync_path(source)
        for number in range(1, 1_000):
            target = output / (f"{stem}.{suffix}" if number == 1 else f"{stem} ({number}).{suffix}")
            try:
                rename_no_replace(source, target)
            except FileExistsError:
                continue
            fsync_path(output)
            return target
    except OSError as error:
        raise StorageFailed(f"could not store the file in {output}: {error.strerror}") from error
    raise StorageFailed(f"there are 1000 files named like {stem!r} in {output}; delete some or choose another folder")


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # other downloads wait in it


@contextmanager
def _unavailable(name: str) -> Iterator[None]:
    """Within the block the module counts as not installed, unless it is loaded already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


@contextmanager
def _display(as_json: bool) -> Iterator[Display]:
    if as_json or not sys.stderr.isatty():
        yield Silent()
        return
    from vasset.bootstrap.progress_bar import progress_bar

    with progress_bar() as bar:
        yield bar
