"""``vasset``: which of its programs runs. ``fetch`` and the services start at once, the rest is a tree of commands.

Nothing is imported before that is known: ``vasset fetch`` is timed against curl, and a service lives for weeks with what it carries.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ROLES = ("gateway", "auth", "parser", "downloader", "asset")


def main(argv: "Sequence[str] | None" = None) -> None:
    """The console script."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["fetch"]:
        from vasset.adapters.fetch.command import main as fetch

        raise SystemExit(fetch(arguments[1:]))
    if len(arguments) == 1 and arguments[0] in ROLES:
        from vasset.commands import serve_role

        serve_role(arguments[0])
    from vasset.commands import application

    application()(arguments)


if __name__ == "__main__":
    main()
