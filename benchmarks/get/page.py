"""The part of the page about ``vasset get``."""

from __future__ import annotations

from benchmarks.page import Run, figure_table, machine_lines

TEXT = """`vasset get` and yt-dlp of the same environment download from a page of our own (`benchmarks/get/films.py`), which both read
with yt-dlp's generic extractor, from nginx on loopback to a disk's file system. The film lasts 30 s and has 7 MB; the pair is the same film as
DASH, merged into one mp4. `vasset` hashes, writes tags, syncs and confines what reads the page; yt-dlp does none of that. CPU is user + system of everything
a command started. Each repetition runs both, the other one first each time, and compares what they left."""


def get_page(run: Run) -> list[str]:
    return ["## One video from the command line", "", *machine_lines(run), "", TEXT, "", *figure_table(run)]
