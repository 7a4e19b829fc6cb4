"""Make the file, prove it, and where that fails do without what a film can do without: cover, subtitles, tags, the wish for a container."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vasset.adapters.extract.child.containers import Selection
from vasset.adapters.extract.child.recipe import Extras, Recipe
from vasset.adapters.extract.complaints import complain_of_disk, last_words
from vasset.adapters.extract.proof import PACKETS, NotProved, Track, prove, run

MAKING_SECONDS = 6 * 3_600  # the job has a bound of its own; this one is for a program that hangs without it


class NotMade(Exception):
    """ffmpeg refused; the message is its own, for the log."""


@dataclass(frozen=True, slots=True)
class Made:
    path: Path
    recipe: Recipe
    remarks: tuple[str, ...]


def make(ffmpeg: Path, first: Recipe, folder: Path, *, is_recording: bool = False) -> Made:
    """The first recipe that gives a whole file. Raises the last one's :class:`NotMade` or ``NotProved``, and ``OSError`` of a disk.

    A full disk ends it at once: what does not fit with a cover does not fit without it.
    """
    failure: Exception = NotMade("nothing was tried")
    for recipe, remarks in simpler(first):
        made = folder / f"made.{recipe.ext}"
        try:
            sources = _run(ffmpeg, recipe, made, folder)
            prove(
                ffmpeg,
                made,
                recipe.files,
                folder=folder,
                is_converted=recipe.is_converted,
                is_recording=is_recording,
                measured=sources,
            )
        except (NotMade, NotProved) as error:
            made.unlink(missing_ok=True)
            failure = error
        else:
            return Made(made, recipe, remarks)
    raise failure


def simpler(recipe: Recipe) -> Iterator[tuple[Recipe, tuple[str, ...]]]:
    """``recipe``, then the same with less and less, each with the words about what is missing."""
    yield recipe, ()
    remarks: tuple[str, ...] = ()
    extras, selection = recipe.extras, recipe.selection
    if extras.cover is not None or selection.covers:
        remarks += ("the cover was left out: it could not be put into the file",)
        extras, selection = replace(extras, cover=None), replace(selection, covers=())
        yield replace(recipe, extras=extras, selection=selection), remarks
    if extras.subtitles or selection.subtitles:
        remarks += ("the subtitles were left out: they could not be put into the file",)
        extras, selection = replace(extras, subtitles=()), replace(selection, subtitles=())
        yield replace(recipe, extras=extras, selection=selection), remarks
    if extras.tags or extras.metadata or selection.attachments:
        remarks += ("tags and chapters were left out: they could not be put into the file",)
        bare = replace(recipe, extras=Extras(), selection=Selection(selection.pictures, selection.sounds, (), (), ()))
        yield bare, remarks
    if recipe.selection.pictures and recipe.ext != "mkv":
        bare = Recipe("mkv", recipe.files, Selection(selection.pictures, selection.sounds, (), (), ()), Extras())
        yield bare, (*remarks, f"{recipe.ext} could not be made of what the site sent: the file is mkv")


def _run(ffmpeg: Path, recipe: Recipe, made: Path, folder: Path) -> list[Track]:
    """The chosen streams of the sources as they were read while the file was made: ffmpeg takes longer to start than to read them."""
    made.unlink(missing_ok=True)
    chosen = (*recipe.selection.pictures, *recipe.selection.sounds)
    maps = [word for piece in chosen for word in ("-map", piece.address)]
    command = [str(ffmpeg), *recipe.arguments(made), *maps, *PACKETS]
    tracks, said, code = run(command, folder=folder, seconds=MAKING_SECONDS)
    complain_of_disk(said)
    if code != 0:
        raise NotMade(last_words(said) or f"ffmpeg ended with {code}")
    if len(tracks) != len(chosen):
        raise NotMade("ffmpeg did not say what it read")
    return [tracks[number] for number in range(len(chosen))]
