"""``vasset``: which of its programs runs. ``fetch`` and the services start at once, the rest is a tree of commands.

Nothing is imported before that is known: ``vasset fetch`` is timed against curl, and a service lives for weeks with what it carries.
``get`` is timed against yt-dlp: the process that will read the page starts before its own command is read, and a command
without anything odd in it is read here, because the tree takes a tenth of a second to grow.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

ROLES = ("gateway", "auth", "parser", "downloader", "asset")
# Options of ``get`` that need no more than their value; ``commands.py`` declares them all.
GET_VALUES = {
    "-o": "output",
    "--output": "output",
    "--quality": "quality",
    "--format": "format",
    "--cookies": "cookies",
}
GET_FLAGS = {"--json": ("json", True), "--subtitles": ("subtitles", True), "--no-subtitles": ("subtitles", False)}


def main(argv: "Sequence[str] | None" = None) -> None:
    """The console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["fetch"]:
        from vasset.adapters.fetch.command import main as fetch

        raise SystemExit(fetch(arguments[1:]))
    if arguments[:1] == ["get"] and "--help" not in arguments:
        import gc

        from vasset.adapters.extract.spawned import start_ahead

        start_ahead()
        gc.set_threshold(50_000)  # else an eighth of this process is spent on looking for garbage among modules
        if (plain := plain_get(arguments[1:])) is not None:
            from vasset.commands import get_videos

            get_videos(**plain)
    if len(arguments) == 1 and arguments[0] in ROLES:
        from vasset.commands import serve_role

        serve_role(arguments[0])
    from vasset.commands import application

    application()(arguments)


def plain_get(arguments: "Sequence[str]") -> "dict[str, Any] | None":
    """What ``get_videos`` is called with; None for anything that the tree of commands should judge."""
    given: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if word in GET_FLAGS:
            name, chosen = GET_FLAGS[word]
            given[name] = chosen
        elif word in GET_VALUES:
            value = next(words, "-")
            if value.startswith("-"):
                return None
            given[GET_VALUES[word]] = value
        elif word.startswith("-"):
            return None
        else:
            given.setdefault("urls", []).append(word)
    return given if "urls" in given else None


if __name__ == "__main__":
    main()
