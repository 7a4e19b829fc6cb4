"""No expression over foreign text takes longer than its length: each is attacked with what makes searching quadratic.

A URL of dashes kept the event loop for 97 % of the time, a line of 400,000 letters a core. Every expression of the product is found by
itself: compiled ones in the modules, and patterns that are written where they are used. What is measured is the processor's time, which a
busy machine does not change, and only whether it grows faster than the text.
"""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vasset.telemetry.redaction import MAX_CHARACTERS, redact_text, redact_url

ROOT = Path(__file__).parents[2] / "vasset"
SHORT, LONG = 4_000, 32_000
WORTH_A_LOOK, TOO_LONG, TOO_STEEP = 0.002, 0.25, 24.0  # seconds, seconds, times for eight times the text
UNITS = (
    "-", "--", "--a", "x-", "a.", "a-", "a_", "a+", "a", "A", "1", "1a", "é", "\t", "a\t", " ", "a ", "\n", "\r\n", "1\n", "/", "/a",
    "//", "a/", "?", "/?", "://", "a://", "a://a", "@", "a@", "a@a.", ":", "a:", "=", "a=", '"', '\\"', '"a', "'", "\\", "\\a", "%3A",
    "https%3A%2F%2F", "$", "${", "${a", "eyJ", "eyJa-", "token", "token=", "token-", "x-token-", "x-token", 'token="', "token='", "password",
    "cookie", "cookie:", "cookie: ", "basic", "basic ", "-----BEGIN ", "-----BEGIN A ", "W/", ",", "a,", ";", "a;", "[", "(", "<", "<a",
)  # fmt: skip
Found = tuple[str, re.Pattern[str] | re.Pattern[bytes], str]


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text()
        if re.search(r"^import re$", text, re.MULTILINE):
            yield ".".join(path.relative_to(ROOT.parent).with_suffix("").parts), text


def expressions(module: str, text: str) -> Iterator[Found]:
    """``(where, expression, method it is used by)`` of one module."""
    for name, value in vars(importlib.import_module(module)).items():
        for number, pattern in enumerate(_patterns_in(value)):
            used = re.search(rf"\b{re.escape(name)}\.(match|fullmatch|search|sub|split|findall|finditer)\b", text)
            yield f"{module}.{name}[{number}]", pattern, used[1] if used else "sub"
    for call in ast.walk(ast.parse(text)):
        if _is_of_re(call) and isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant):
            assert isinstance(call.func, ast.Attribute)
            if call.func.attr != "compile" and isinstance(written := call.args[0].value, str):
                yield f"{module}:{call.lineno}", re.compile(written), call.func.attr


def _patterns_in(value: object) -> Iterator[re.Pattern[str] | re.Pattern[bytes]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from _patterns_in(tuple(value.values()))
    elif isinstance(value, tuple | list | frozenset):
        for item in value:
            yield from _patterns_in(item)


def _is_of_re(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
    )


def seconds(pattern: re.Pattern[str] | re.Pattern[bytes], method: str, text: str) -> float:
    data: str | bytes = text.encode() if isinstance(pattern.pattern, bytes) else text
    began = time.process_time()
    if method in {"match", "fullmatch", "search"}:
        getattr(pattern, method)(data)
    else:
        pattern.findall(data)  # type: ignore[arg-type]  # as the pattern is
    return time.process_time() - began


def pumped(unit: str, size: int) -> str:
    return "? " + unit * (size // len(unit)) + "\0"


@pytest.mark.parametrize("module", [module for module, _ in sources()])
def test_searching_takes_no_longer_than_the_text(module: str) -> None:
    for where, pattern, method in expressions(module, dict(sources())[module]):
        attack(where, pattern, method)


def attack(where: str, pattern: re.Pattern[str] | re.Pattern[bytes], method: str) -> None:
    words = re.findall(r"[A-Za-z]{3,}", str(pattern.pattern))
    for unit in dict.fromkeys([*UNITS, *(word + end for word in words for end in ("", "-", " ", "="))]):
        for lead in ("", "? ", "1"):
            if (first := seconds(pattern, method, lead + pumped(unit, SHORT)[2:])) < WORTH_A_LOOK:
                continue
            longer = seconds(pattern, method, lead + pumped(unit, LONG)[2:])
            assert longer < TOO_LONG or longer < TOO_STEEP * first, (
                f"{where} with {unit!r}: {first:.3f} s, {longer:.3f} s"
            )


@pytest.mark.parametrize("unit", UNITS)
def test_redaction_as_a_whole_is_linear(unit: str) -> None:
    short, whole = pumped(unit, MAX_CHARACTERS // 8), pumped(unit, MAX_CHARACTERS)
    times = []
    for text in (short, whole):
        began = time.process_time()
        redact_text(text)
        redact_url(text)
        times.append(time.process_time() - began)
    assert times[1] < TOO_LONG or times[1] < TOO_STEEP * times[0], f"{unit!r}: {times}"


def test_what_finds_bombs_finds_one() -> None:
    bomb = re.compile(r"--(?:[\w-]*-)?(?:password|token)")
    assert seconds(bomb, "sub", pumped("-", 1_200)) > 100 * seconds(
        re.compile(r"--(?!-)[\w-]++"), "sub", pumped("-", 1_200)
    )


def test_every_expression_is_compiled_where_it_is_found() -> None:
    for module, text in sources():
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                for call in ast.walk(function):
                    if _is_of_re(call) and isinstance(call, ast.Call):
                        assert isinstance(call.func, ast.Attribute)
                        literal = bool(call.args) and isinstance(call.args[0], ast.Constant)
                        assert call.func.attr == "escape" or (literal and call.func.attr != "compile"), (
                            f"{module}:{call.lineno}: an expression that this test cannot see"
                        )
