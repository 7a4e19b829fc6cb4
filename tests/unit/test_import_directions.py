"""What import-linter cannot see: the extension module is compiled, so its importers are found by reading the sources."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "vasset"
ALLOWED = ("adapters/fetch/", "adapters/storage/", "adapters/extract/egress.py")


def imports_engine(source: str) -> bool:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module == "vasset._engine" or "vasset._engine" in names:
                return True
        elif isinstance(node, ast.Import) and any(alias.name == "vasset._engine" for alias in node.names):
            return True
    return False


def test_only_its_adapters_import_the_engine() -> None:
    importers = {
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if imports_engine(path.read_text())
    }
    assert importers, "nobody imports the engine: the search is broken"
    assert [name for name in sorted(importers) if not name.startswith(ALLOWED)] == []
