"""A picture and its sound, which a playlist keeps apart: both fetched at once, then merged into one file.

Imported only for such playlists; :mod:`vasset.adapters.fetch.playlist` says why.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from vasset import _engine
from vasset.adapters.fetch.merge import CannotMerge, DiskRefused, merge
from vasset.adapters.fetch.name import TargetTaken
from vasset.adapters.fetch.playlist import Fetched, NotFetched, Wishes


def fetch_pair(engine: _engine.Engine, wishes: Wishes, picture: int, sound: int) -> Fetched:
    """A file that an earlier run completed is not fetched again; its name says which stream it is.

    Raises the engine's errors and :class:`NotFetched`.
    """
    began = monotonic()
    paths = {picture: Path(f"{wishes.output}.{picture}.video"), sound: Path(f"{wishes.output}.{sound}.audio")}
    missing = [(stream, path) for stream, path in paths.items() if not path.exists()]
    outcomes = wishes.wait([engine.submit(wishes.request(str(path), stream)) for stream, path in missing])
    digests: dict[str, str] = {}

    def check(merged: Path) -> None:
        digests.update(wishes.digests(str(merged)))
        wishes.check(digests)

    try:
        durability = merge(paths[picture], paths[sound], Path(wishes.output), check=check)
    except TargetTaken as error:
        raise NotFetched("target_exists", str(error)) from error
    except CannotMerge as error:
        place = f"the picture is complete in {paths[picture]} and the sound in {paths[sound]}"
        if isinstance(error, DiskRefused):
            raise NotFetched("disk_full", f"{error}: {place}; make room, and the same command merges them") from error
        raise NotFetched("not_merged", f"{error}: {place}; with ffmpeg the same command merges them") from error
    return Fetched(wishes.output, outcomes, digests=digests, seconds=monotonic() - began, durability=durability)
