"""``vasset fetch URL -o FILE``: one file or HLS/DASH playlist by the engine alone.

Interpreter start counts against curl here, so nothing is imported that a download does not need: no typer, no settings model, not even
``typing``. That is why the four environment variables it honours are read here and not in ``config.py`` (importing that takes longer than a gigabyte).
"""

from __future__ import annotations

import os
import sys

from vasset import _engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from typing import Literal

    from vasset.adapters.fetch.environment import Rules
    from vasset.adapters.fetch.playlist import Fetched

EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_UPSTREAM, EXIT_DISK, EXIT_UNSUPPORTED, EXIT_INTERRUPTED = (
    1,
    2,
    3,
    4,
    5,
    6,
    130,
)
TICK_SECONDS = 0.25
# What is waited for is said after so long where no line is drawn over and over.
QUIET_SECONDS = 3.0
ANSWER_TIMEOUT_SECONDS = 120.0
CONNECTIONS_PER_HOST = 16  # unless somebody asks for more
DISK_FLOOR_BYTES = 16 * 2**20  # what a desktop needs to tell its user that the disk is full
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
DESCRIPTION = """Download one file, or the pieces of an HLS (.m3u8) or DASH (.mpd) playlist joined, by the engine alone.
FILE appears only complete and verified; an existing one is never replaced. The same command again goes on where it stopped."""
EPILOG = """A playlist of several streams: --quality takes the best picture of at most that height, or the sound alone; --audio takes
one of several sounds. Sound that is apart from its picture is fetched beside it and merged by ffmpeg, which also joins recordings
whose clock begins anew and gives the joined file the container that FILE's extension names.
exit codes: 0 done, 1 failed, 2 wrong usage, 3 the address was refused, 4 the origin or the network failed, 5 the disk refused,
6 recognised and not supported (live, DRM, SAMPLE-AES), 130 interrupted.
Cookies go where they belong, on redirects and to segments too; those that answers set are kept until the end.
Environment: VASSET_EGRESS_ALLOW (hosts or networks that are not public), VASSET_CA_FILE, SSL_CERT_FILE, VASSET_PROXY, else http_proxy,
https_proxy, all_proxy and no_proxy (http://, socks5://, or socks5h:// to have names resolved by the proxy)."""


def main(argv: Sequence[str]) -> int:
    """Answers the exit code; says what happened on standard error, or as one JSON line on standard output."""
    options = _parse(argv)
    allowed = [part.strip() for part in os.environ.get("VASSET_EGRESS_ALLOW", "").split(",") if part.strip()]
    wanted = _each(options)
    try:
        for each in wanted:
            each.jar = _jar(each, allowed)
    except (OSError, ValueError) as error:
        _say(options, "invalid_request", str(error))
        return EXIT_USAGE
    except _engine.EngineError as error:
        _say(options, error.code, str(error))
        return _exit_code(error)
    proxy, proxies = _proxies()
    engine = _engine.Engine(
        egress_allow=allowed + proxies,
        ca_file=os.environ.get("VASSET_CA_FILE"),
        rate_limit=options.limit_rate,
        max_connections_per_host=max(CONNECTIONS_PER_HOST, options.connections or 0),
        disk_floor=DISK_FLOOR_BYTES,
    )
    code = 0
    for each in wanted:
        each.proxy = proxy
        ended = _fetch_one(engine, each)
        if ended == EXIT_INTERRUPTED:
            return ended
        code = code or ended  # the first failure's; those after it are fetched all the same
    return code


def _each(options: Namespace) -> list[Namespace]:
    """The options of each address, with the file it goes to."""
    import copy

    made = []
    for url, output in zip(options.urls, options.output, strict=True):
        one = copy.copy(options)
        one.url, one.output = url, output
        made.append(one)
    return made


def _fetch_one(engine: _engine.Engine, options: Namespace) -> int:
    outcome: _engine.Outcome | Fetched | int
    try:
        if _kind(options) == "file":
            outcome = _wait([engine.submit(_request(options, options.output))], quiet=options.json or options.quiet)[0]
        else:
            outcome = _fetch_what_it_is(engine, options)
    except KeyboardInterrupt:
        engine.close()
        _say(options, "interrupted", _what_is_kept(options.output))
        return EXIT_INTERRUPTED
    except _engine.EngineError as error:
        _say(options, error.code, str(error))
        return _exit_code(error)
    if isinstance(outcome, int):
        return outcome
    _report(options, outcome)
    return 0


def _parse(argv: Sequence[str]) -> Namespace:
    import argparse

    parser = argparse.ArgumentParser(
        prog="vasset fetch",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "urls", metavar="URL", nargs="+", help="http or https address; several are fetched one after another"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", action="append", required=True,
        help="where the file goes: once for each address, or once FOLDER/, for names as in the addresses",
    )  # fmt: skip
    parser.add_argument(
        "--connections", metavar="N", type=_connections, help=f"1 to {_engine.MOST_CONNECTIONS}, or auto (the default)"
    )
    parser.add_argument(
        "--hash", choices=("blake3", "xxh3", "sha256", "none"), default="blake3", help="computed while writing"
    )
    parser.add_argument("--expect", metavar="HEX", help="the digest the file must have, by --hash")
    parser.add_argument(
        "--header", metavar="K:V", action="append", default=[], type=_header, help="sent to the origin; repeatable"
    )
    parser.add_argument(
        "--cookie", metavar="K=V", action="append", default=[], help="for the host of the address; repeatable"
    )
    parser.add_argument("--cookies", metavar="FILE", help="a cookies.txt (Netscape format) as browsers export it")
    parser.add_argument(
        "--quality",
        metavar="Q",
        type=_quality,
        default="best",
        help="of a playlist: best, a height such as 720p, or audio",
    )
    parser.add_argument("--audio", metavar="WHICH", help="of a playlist: the language or name of the sound")
    parser.add_argument(
        "--skip-missing",
        metavar="N",
        type=_count,
        default=0,
        help="of a playlist: do without up to N segments that the origin does not have",
    )
    parser.add_argument("--http1", action="store_true", help="no HTTP/2, also where the origin offers it")
    parser.add_argument(
        "--max-range", metavar="SIZE", type=_rate, help="bytes asked for at once, such as 1M, where more is refused"
    )
    parser.add_argument(
        "--answer-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=ANSWER_TIMEOUT_SECONDS,
        help="how long the first answer may take (%(default)g)",
    )
    parser.add_argument(
        "--trust-length",
        action="store_true",
        help="go on with a file that has no ETag or date when its length and the bytes before the break are the same",
    )
    parser.add_argument("--limit-rate", metavar="RATE", type=_rate, help="bytes a second, such as 10M")
    parser.add_argument("--kind", choices=("auto", "file", "hls", "dash"), default="auto", help="what the address is")
    parser.add_argument("--json", action="store_true", help="one line of JSON for programs")
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress")
    options = parser.parse_args(list(argv))
    if not {"-", "/dev/stdout"}.isdisjoint(options.output):
        parser.error(
            "-o names a file: what is not yet complete and verified is shown to nobody, so there is no stream to give; use curl for that"
        )
    if options.expect and options.hash == "none":
        parser.error("--expect needs a --hash to compare with")
    if options.expect and len(options.urls) > 1:
        parser.error("--expect is the digest of one file; give one address")
    if len(options.urls) > 1 or len(options.output) > 1 or options.output[0].endswith("/"):
        from vasset.adapters.fetch.names import files_for

        try:
            options.output = files_for(options.urls, options.output)
        except ValueError as error:
            parser.error(str(error))
    return options


def _fetch_what_it_is(engine: _engine.Engine, options: Namespace) -> _engine.Outcome | Fetched | int:
    """A playlist is known by its name, else by its content: ``/live/1234`` and ``?id=1`` may be either."""
    if _kind(options) == "media":
        try:
            return _wait([engine.submit(_request(options, options.output))], quiet=options.json or options.quiet)[0]
        except _engine.Unsupported as error:
            if error.code != "playlist":
                raise
        for name in (f"{options.output}.part", f"{options.output}.part.j"):
            if os.path.exists(name):  # noqa: PTH110
                os.unlink(name)  # noqa: PTH108
        options.kind = "hls"
    return _fetch_playlist(engine, options)


def _what_is_kept(output: str) -> str:
    """What somebody who stopped a download can go on from. Without its journal a part file is worth nothing."""
    folder, name = os.path.split(os.path.abspath(output))  # noqa: PTH100
    parts = [
        os.path.join(folder, each)  # noqa: PTH118
        for each in os.listdir(folder)  # noqa: PTH208
        if each.startswith(f"{name}.") and each.endswith(".part")
    ]
    kept = [part for part in parts if os.path.exists(f"{part}.j") and os.path.getsize(part)]  # noqa: PTH110, PTH202
    if kept:
        return f"stopped; type the same command again to go on from {' and '.join(sorted(kept))}"
    return "stopped; nothing of it can be gone on with, the same command begins again"


def _jar(options: Namespace, allowed: list[str]) -> list[_engine.Cookie]:
    """The cookies of all options, a header among them. Raises ``OSError``, ``ValueError`` and the engine's errors; no words show a value."""
    lines = [*options.cookie, *(value for name, value in options.header if name.lower() == "cookie")]
    if not lines and not options.cookies:
        return []
    from vasset.adapters.fetch import cookies

    found = cookies.read_file(options.cookies) if options.cookies else []
    for line in lines:
        found += cookies.of_address(line, options.url, allowed)
    return found


def _proxies() -> tuple[Rules | None, list[str]]:
    """The rules of the environment, and where their proxies are."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None, []
    from vasset.adapters.fetch import environment

    rules = environment.proxy_rules(os.environ)
    return rules, environment.places(rules) if rules else []


def _fetch_playlist(engine: _engine.Engine, options: Namespace) -> Fetched | int:
    """What was fetched, or the exit code after words about why nothing was."""
    from vasset.adapters.fetch import playlist

    wishes = playlist.Wishes(
        address=options.url,
        output=options.output,
        quality=options.quality,
        audio=options.audio,
        hash_name=None if options.hash == "none" else options.hash,
        expected=options.expect.lower() if options.expect else None,
        request=lambda output, stream: _request(options, output, stream),
        wait=lambda handles: _wait(handles, quiet=options.json or options.quiet),
    )
    try:
        return playlist.fetch(engine, wishes)
    except playlist.NotFetched as error:
        _say(options, error.code, str(error))
        return {"invalid_request": EXIT_REFUSED, "target_exists": EXIT_DISK, "disk_full": EXIT_DISK}.get(
            error.code, EXIT_FAILED
        )


def _request(options: Namespace, output: str, stream: int | None = None) -> _engine.Request:
    return _engine.Request(
        options.url,
        output,
        headers={name: value for name, value in options.header if name.lower() != "cookie"},
        cookies=options.jar,
        kind=_kind(options),
        connections=options.connections,
        max_range_bytes=options.max_range,
        answer_timeout_seconds=options.answer_timeout,
        trust_length=options.trust_length,
        hashes=() if options.hash == "none" else (options.hash,),
        expected_digest=(options.hash, options.expect.lower()) if options.expect and output == options.output else None,
        stream=stream,
        http2=not options.http1,
        skip_missing=options.skip_missing,
        proxy=options.proxy,
    )


def _kind(options: Namespace) -> Literal["file", "media", "hls", "dash"]:
    if options.kind != "auto":
        return options.kind  # type: ignore[no-any-return]  # argparse checked it
    path = options.url.partition("?")[0].partition("#")[0].lower()
    return "hls" if path.endswith(".m3u8") else "dash" if path.endswith(".mpd") else "media"


def _wait(handles: Sequence[_engine.Handle], *, quiet: bool) -> list[_engine.Outcome]:
    """Blocks in the engine; Ctrl-C cancels the downloads, which keep their journals, and is raised. So does a failure."""
    is_drawn = not quiet and sys.stderr.isatty()
    said = _Said()
    try:
        if len(handles) == 1 and quiet:
            return [handles[0].wait()]
        # In turns, so that the failure of any is the end of all.
        while running := [handle for handle in handles if not _has_ended(handle)]:
            waiting = next(filter(None, (handle.waiting_for() for handle in running)), None)
            if is_drawn:
                _draw([handle.snapshot() for handle in handles], waiting)
            elif not quiet:
                said.hear(waiting)
        return [handle.result() for handle in handles]
    except BaseException:
        for handle in handles:
            handle.cancel()
        raise
    finally:
        if is_drawn:
            sys.stderr.write("\r\x1b[K")


class _Said:
    """What is waited for, said once and only while nothing comes for long: a log needs no line for every answer."""

    def __init__(self) -> None:
        self._last: str | None = None
        self._turns = 0

    def hear(self, waiting: str | None) -> None:
        self._turns = 0 if waiting is None else self._turns + 1
        if waiting is not None and waiting != self._last and self._turns >= QUIET_SECONDS / TICK_SECONDS:
            self._last, self._turns = waiting, 0
            sys.stderr.write(f"vasset fetch: waiting for {waiting}\n")
            sys.stderr.flush()


def _has_ended(handle: _engine.Handle) -> bool:
    """Waits for a moment; raises what the download ended with."""
    try:
        handle.wait(TICK_SECONDS)
    except TimeoutError:
        return False
    return True


def _draw(now: Sequence[_engine.Snapshot], waiting: str | None) -> None:
    downloaded, totals = sum(one.downloaded_bytes for one in now), [one.total_bytes for one in now]
    done = f"{downloaded / 2**20:.1f} MiB"
    if all(totals):
        total = sum(filter(None, totals))
        done = f"{100 * downloaded / total:5.1f} %  {done} of {total / 2**20:.1f} MiB"
    speed, connections = sum(one.speed_bytes_per_second for one in now), sum(one.connections for one in now)
    doing = f"waiting for {waiting}" if waiting else f"{speed / 2**20:.1f} MiB/s  {connections} connections"
    # A line that wraps cannot be drawn over.
    width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
    sys.stderr.write("\r\x1b[K" + f"{done}  {doing}"[: width - 1])
    sys.stderr.flush()


def _report(options: Namespace, outcome: _engine.Outcome | Fetched) -> None:
    from vasset.adapters.fetch.remarks import gaps, in_words

    remarks: list[str] = [*outcome.remarks, *gaps(outcome.missing_fragments)]
    digest = outcome.digests.get(options.hash)
    if options.json:
        import json

        line = {
            "path": outcome.path,
            "size": outcome.size,
            "hash": digest,
            "hash_algorithm": options.hash if digest else None,
            "seconds": round(outcome.seconds, 3),
            "resumed_bytes": outcome.resumed_bytes,
            "fetched_bytes": outcome.fetched_bytes,
            "connections": outcome.connections_peak,
            "final_url": outcome.final_url,
            "durability": outcome.durability,
            "missing_fragments": outcome.missing_fragments,
            "remarks": remarks,
        }
        sys.stdout.write(json.dumps(line) + "\n")
    elif not options.quiet:
        words = f"{outcome.path}: {outcome.size / 2**20:.1f} MiB in {outcome.seconds:.1f} s"
        if outcome.resumed_bytes:
            words += f", {outcome.resumed_bytes / 2**20:.1f} MiB of it from before"
        words += "".join(f"\n{in_words(remark)}" for remark in remarks)
        if outcome.durability == "unknown":
            words += "\nit is complete, but the disk did not confirm its name: it may be gone after a power cut"
        sys.stderr.write(words + (f"\n{options.hash} {digest}\n" if digest else "\n"))


def _say(options: Namespace, code: str, words: str) -> None:
    if options.json:
        import json

        sys.stdout.write(json.dumps({"error": {"code": code, "message": words}}) + "\n")
    else:
        sys.stderr.write(f"vasset fetch: {words}\n")


def _exit_code(error: _engine.EngineError) -> int:
    if isinstance(error, _engine.EgressDenied | _engine.InvalidRequest):
        return EXIT_REFUSED
    if isinstance(error, _engine.StorageError):
        return EXIT_DISK
    if isinstance(error, _engine.Unsupported):
        return EXIT_UNSUPPORTED
    if isinstance(error, _engine.OriginError | _engine.NetworkError):
        return EXIT_UPSTREAM
    return EXIT_FAILED


def _connections(text: str) -> int | None:
    if text == "auto":
        return None
    number = int(text)
    if not 1 <= number <= _engine.MOST_CONNECTIONS:
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise ValueError(text)
    return number


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ValueError(text)
    return name.strip(), value.strip()


def _quality(text: str) -> str:
    if text in {"best", "audio"} or (text.endswith("p") and text[:-1].isascii() and text[:-1].isdigit()):
        return text
    raise ValueError(text)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 2**20:
        raise ValueError(text)
    return number


def _rate(text: str) -> int:
    unit = UNITS.get(text[-1:].lower())
    number = float(text[:-1]) * unit if unit else float(text)
    if not 1 <= number < 2**50:
        raise ValueError(text)
    return int(number)
