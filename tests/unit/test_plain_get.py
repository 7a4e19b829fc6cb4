"""``vasset get`` reads an ordinary command line without the tree of commands, and never otherwise than the tree would."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from vasset import commands
from vasset.cli import GET_FLAGS, GET_VALUES, plain_get

URL = "https://video.example/watch?v=1"


class Called(Exception):
    pass


def by_the_tree(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``get_videos`` is given when the tree of commands reads the line."""
    signature = inspect.signature(commands.get_videos)
    given: dict[str, Any] = {}

    def note(*positional: Any, **named: Any) -> None:
        given.update(signature.bind(*positional, **named).arguments)
        raise Called

    with monkeypatch.context() as patch:
        patch.setattr(commands, "get_videos", note)
        with pytest.raises(Called):
            commands.application()(["get", *arguments])
    return given


@pytest.mark.parametrize(
    "arguments",
    [
        [URL],
        [URL, "https://video.example/watch?v=2"],
        [URL, "-o", "films"],
        ["--output", "films", "--json", URL],
        [URL, "--cookies", "cookies.txt"],
        ["--quality", "720p", URL, "--format", "mkv", "--no-subtitles"],
        ["--subtitles", "--no-subtitles", "--json", "--quality", "audio", "--quality", "best", URL],
    ],
)
def test_an_ordinary_line_means_what_the_tree_of_commands_makes_of_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = inspect.signature(commands.get_videos)
    plain = plain_get(arguments)
    assert plain is not None
    bound = signature.bind(**plain)
    bound.apply_defaults()
    meant = by_the_tree(arguments, monkeypatch)
    assert Path(bound.arguments.pop("output")) == Path(meant.pop("output"))
    assert bound.arguments == meant


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-o", "films"],
        [URL, "-o"],
        [URL, "--quality", "--json"],
        [URL, "--output=films"],
        [URL, "-ofilms"],
        [URL, "--config", "settings.yaml"],
        [URL, "--", "--json"],
        ["--help"],
        [URL, "--not-an-option"],
    ],
)
def test_anything_odd_is_left_to_the_tree_of_commands(arguments: list[str]) -> None:
    assert plain_get(arguments) is None


def test_every_plain_option_is_one_the_tree_knows() -> None:
    group: Any = get_command(commands.application())
    options = {
        name: parameter for parameter in group.commands["get"].params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }  # fmt: skip
    for word, name in GET_VALUES.items():
        assert options[word].name == name
        assert not options[word].is_flag
    for word, (name, chosen) in GET_FLAGS.items():
        assert options[word].name == name
        assert options[word].is_flag
        assert (word in options[word].opts) == chosen
