"""What a service that lives for weeks does not carry along. Five processes on one machine pay for every mebibyte five times."""

from __future__ import annotations

import ctypes
import gc
import sys

# Imported by libraries when they are there, for what no service does: structlog's coloured tracebacks (4 MiB), PyJWT's public-key
# algorithms (9 MiB; our tokens are HS256, refused otherwise), uvicorn's reloader.
LEFT_OUT = ("rich", "cryptography", "watchfiles")
_M_ARENA_MAX = -8


def import_less() -> None:
    """Before anything else is imported: these modules are treated as not installed, and threads share two arenas of the C library."""
    for name in LEFT_OUT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # None: "may not be imported"
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, 2)


def settle() -> None:
    """After the start: give back what only starting needed, and never look again at what stays for good.

    Modules and routes live as long as the process: each full collection would walk them for 30 ms, on the event loop's thread.
    """
    gc.collect()
    gc.freeze()
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
