"""Import yt-dlp once and touch what a first extraction would touch, so that forked children share it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from typing import Any

PAGE = "https://vasset.invalid/"
# What yt-dlp imports besides itself, four fifths of the time it takes. Not ``requests`` and ``curl_cffi``: they ask certifi for
# its roots at import, which is after ``_trust``.
LIBRARIES = (
    "asyncio", "http.cookiejar", "http.cookies", "http.client", "urllib.request", "email.parser", "email.message", "xml.etree.ElementTree",
    "html.parser", "sqlite3", "optparse", "ctypes.util", "tempfile", "zipimport", "hashlib", "ssl", "uuid", "certifi",
    "Cryptodome.Cipher.AES", "Cryptodome.Cipher.Blowfish", "Cryptodome.Cipher.PKCS1_OAEP", "Cryptodome.Hash.CMAC",
    "Cryptodome.PublicKey.RSA", "mutagen", "websockets.sync.client", "urllib3", "charset_normalizer", "idna", "brotli", "cffi",
)  # fmt: skip


def load_libraries() -> None:
    """What is the same for every yt-dlp and every setting, so that it can be loaded before either is known."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # yt-dlp goes without the optional ones
            importlib.import_module(name)


def load(settings: dict[str, Any]) -> str:
    """Import everything and answer yt-dlp's version. Plugins come from the operator's folder only, never from cwd or home."""
    _trust(settings.get("ca_file"))
    import yt_dlp
    from yt_dlp.globals import plugin_dirs

    from vasset.adapters.extract.child import default_sound

    folder = settings.get("plugins")
    plugin_dirs.value = [folder] if folder else []
    _read_roots_once()
    _read_attributes_in_one_pass()
    default_sound.heed()
    if settings["lasting"]:
        asking = ask_ffmpeg(settings)
        _prepare_sites(settings)
        asking.join()  # only a process with one thread forks whole children
    return str(yt_dlp.version.__version__)


def ask_ffmpeg(settings: dict[str, Any]) -> threading.Thread:
    """Have yt-dlp learn ffmpeg's version and filters, which it remembers for the process, while something else is done: 0.1 s."""

    def ask() -> None:
        from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

        with contextlib.suppress(Exception):  # then whoever needs it asks again, and says what is wrong
            FFmpegPostProcessor._ffmpeg_location.set(settings["programs"])
            asked = FFmpegPostProcessor()
            if asked.available and settings["lasting"]:
                asked.probe_available  # noqa: B018  a property that asks

    thread = threading.Thread(target=ask, name="ask ffmpeg", daemon=True)
    thread.start()
    return thread


def _prepare_sites(settings: dict[str, Any]) -> None:
    """Load every site, compile its patterns for addresses and embedded players, build the request handlers. Nothing is sent.

    A page of an unknown site runs all of it, 1.7 s of one core in a child that finds it missing; here it costs 30 MB once.
    """
    from vasset.adapters.extract.child.downloader import GuardedDownloader
    from vasset.adapters.extract.child.options import base_options

    with GuardedDownloader(base_options({"proxy": "http://127.0.0.1:9"}, settings)) as downloader:
        for extractor in downloader._ies.values():
            with contextlib.suppress(Exception):  # a broken site breaks its own downloads only
                extractor.suitable(PAGE)
                list(extractor.extract_from_webpage(downloader, PAGE, "<html></html>"))
        for handler in downloader._request_director.handlers.values():
            with contextlib.suppress(AttributeError):  # nothing here may depend on the yt-dlp of the day
                handler._make_sslcontext()


def _read_roots_once() -> None:
    """One TLS context for all downloaders with the same options: reading certifi's roots takes 25 ms of one core each time.

    Contexts hold what is trusted and no session; children inherit it from the nursery.
    """
    from yt_dlp.networking import common

    if hasattr(common, "make_ssl_context"):  # else each downloader reads them, as yt-dlp would
        common.make_ssl_context = functools.cache(common.make_ssl_context)


def _read_attributes_in_one_pass() -> None:
    """yt-dlp searches a playlist's line for attributes from each of its letters on: half a megabyte of them pins a core."""
    from yt_dlp.downloader import hls
    from yt_dlp.extractor import common

    from vasset.adapters.extract.child.live_playlist import attributes

    for module in (hls, common):
        if hasattr(module, "parse_m3u8_attributes"):  # else yt-dlp reads them in another way by now
            module.parse_m3u8_attributes = attributes


def _trust(ca_file: str | None) -> None:
    """``ca_file`` holds certifi's roots and the operator's: every library here asks certifi where they are."""
    if ca_file is None:
        return
    import certifi

    certifi.where = lambda: ca_file
