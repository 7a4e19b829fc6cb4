"""Write docs/configuration.md from vasset/config.py, or with --check fail when it differs."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from vasset import config

HEADER = """# Configuration

Every setting is read once, at start, from (first wins) the command line, the environment variable named here, the YAML file given by
`--config` (keys are the names without `VASSET_`, in lower case), and a file of the same name in the folder `VASSET_SECRETS_DIR`.
An unknown key is an error, and so is a `VASSET_` name in the environment that no setting has (the names that Kubernetes adds for services
pass). This page is generated from `vasset/config.py` by `make generated`.
"""


def shown(value: Any) -> str:
    if value is None or value is PydanticUndefined or value == ():
        return "—"
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`"
    return f"`{value:,}`".replace(",", "_") if isinstance(value, int) and value >= 100_000 else f"`{value}`"


def render() -> str:
    """Sections follow the ``# --- name ---`` comments of the class body."""
    lines = [HEADER]
    for line in inspect.getsource(config.Settings).splitlines():
        if section := re.match(r"\s*# --- (.+) ---", line):
            lines += [f"## {section[1].capitalize()}", "", "| variable | default | meaning |", "|---|---|---|"]
        elif (name := re.match(r"    (\w+): .*Field\(", line)) and name[1] in config.Settings.model_fields:
            field = config.Settings.model_fields[name[1]]
            meaning = (field.description or "").replace("|", "\\|")
            lines.append(f"| `VASSET_{name[1].upper()}` | {shown(field.default)} | {meaning} |")
    text = "\n".join(lines) + "\n"
    return re.sub(r"\n(## )", r"\n\n\1", text)


def main() -> int:
    check = "--check" in sys.argv
    path = Path(sys.argv[-1])
    text = render()
    if not check:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return 0
    if not path.exists() or path.read_text() != text:
        sys.stderr.write(f"{path} is out of date; run: make generated\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
