"""What yt-dlp can really use of what is installed. It drops what does not fit without a word, and videos fail for it much later."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yt_dlp
from yt_dlp.networking.impersonate import ImpersonateRequestHandler

from vasset.adapters.extract.child.downloader import GuardedDownloader
from vasset.adapters.extract.child.job import Emit
from vasset.adapters.extract.child.options import page_options

PROGRAM_SECONDS = 20.0


def runtimes(job: dict[str, Any], settings: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """``runtimes``: name → version when it works, else None and why in ``problems``."""
    with GuardedDownloader(page_options(job, settings)) as downloader:
        answers = {
            "yt-dlp": (yt_dlp.version.__version__, None),
            "deno": _deno(downloader),
            "yt-dlp-ejs": _ejs(),
            "curl-cffi": _curl(downloader),
        }
    for name in ("ffmpeg", "ffprobe"):
        answers[name] = _program(Path(settings["programs"]) / name)
    return {
        "runtimes": {name: version for name, (version, _) in answers.items()},
        "problems": {name: problem for name, (_, problem) in answers.items() if problem},
    }


def _deno(downloader: GuardedDownloader) -> tuple[str | None, str | None]:
    runtime = downloader._js_runtimes.get("deno")
    information = runtime.info if runtime is not None else None
    if information is None:
        return None, "it is not installed or does not start; YouTube needs it"
    if not information.supported:
        return None, f"{information.version} is older than yt-dlp takes"
    return str(information.version), None


def _ejs() -> tuple[str | None, str | None]:
    from yt_dlp.extractor.youtube.jsc._builtin.vendor import VERSION

    try:
        import yt_dlp_ejs
    except ImportError:
        return None, f"it is not installed; this yt-dlp solves YouTube's challenges with {VERSION}"
    if yt_dlp_ejs.version != VERSION:
        return None, f"{yt_dlp_ejs.version} is installed, and this yt-dlp takes {VERSION} only"
    return VERSION, None


def _curl(downloader: GuardedDownloader) -> tuple[str | None, str | None]:
    try:
        from curl_cffi.__version__ import __version__
    except ImportError:
        return None, "it is not installed; sites that answer browsers only need it"
    handlers = downloader._request_director.handlers.values()
    if not any(isinstance(handler, ImpersonateRequestHandler) and handler.supported_targets for handler in handlers):
        return None, f"{__version__} is installed, and this yt-dlp does not take that version"
    return str(__version__), None


def _program(path: Path) -> tuple[str | None, str | None]:
    """As a child starts it, through its gate. The first line says ``ffmpeg version 7.1 Copyright …``."""
    if not path.exists():
        return None, "it is not installed"
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"it does not start ({type(error).__name__})"
    words = done.stdout.split(maxsplit=3)
    return (words[2] if len(words) > 2 else "unknown"), None
