"""A picture and its sound, which a playlist keeps apart: both fetched at once, then merged into one file.

Imported only for such playlists; :mod:`vasset.adapters.fetch.playlist` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic

from vasset import _engine
from vasset.adapters.fetch.merge import CannotMerge, TargetTaken, merge
from vasset.adapters.fetch.playlist import NotFetched, Wishes


@dataclass(frozen=True, slots=True)
class Merged:
    """What an ``Outcome`` says, of a file that was made of two."""

    path: str
    size: int
    digests: dict[str, str]
    seconds: float
    resumed_bytes: int
    fetched_bytes: int
    connections_peak: int
    final_url: str
    durability: _engine.Durability
    remarks: list[_engine.Remark]


def fetch_pair(engine: _engine.Engine, wishes: Wishes, picture: int, sound: int) -> Merged:
    """A file that an earlier run completed is not fetched again; its name says which stream it is.

    Raises the engine's errors and :class:`NotFetched`.
    """
    began = monotonic()
    if Path(wishes.output).exists():
        raise NotFetched("target_exists", f"{wishes.output} exists and is never replaced; choose another name")
    paths = {picture: Path(f"{wishes.output}.{picture}.video"), sound: Path(f"{wishes.output}.{sound}.audio")}
    missing = [(stream, path) for stream, path in paths.items() if not path.exists()]
    outcomes = wishes.wait([engine.submit(wishes.request(str(path), stream)) for stream, path in missing])
    try:
        check = partial(_checked, wishes)
        durability = merge(paths[picture], paths[sound], Path(wishes.output), check=check)
    except TargetTaken as error:
        raise NotFetched("target_exists", str(error)) from error
    except CannotMerge as error:
        place = f"the picture is complete in {paths[picture]} and the sound in {paths[sound]}"
        raise NotFetched("not_merged", f"{error}: {place}; with ffmpeg the same command merges them") from error
    output = Path(wishes.output)
    return Merged(
        path=wishes.output,
        size=output.stat().st_size,
        digests={wishes.hash_name: _engine.hash_file(output, wishes.hash_name)} if wishes.hash_name else {},
        seconds=monotonic() - began,
        resumed_bytes=sum(outcome.resumed_bytes for outcome in outcomes),
        fetched_bytes=sum(outcome.fetched_bytes for outcome in outcomes),
        connections_peak=sum(outcome.connections_peak for outcome in outcomes),
        final_url=outcomes[0].final_url if outcomes else "",
        durability=durability,
        remarks=sorted({remark for outcome in outcomes for remark in outcome.remarks}),
    )


def _checked(wishes: Wishes, merged: Path) -> None:
    if wishes.hash_name is None or wishes.expected is None:
        return
    digest = _engine.hash_file(merged, wishes.hash_name)
    if digest != wishes.expected:
        words = f"the {wishes.hash_name} of the merged file is {digest}, promised was {wishes.expected}; nothing was published"
        raise NotFetched("digest_mismatch", words)
