"""What a recording leaves in the workspace: the extraction it follows, and the mark by which it is asked to end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vasset.adapters.extract.child.tape import is_begun

FOLLOWED = "recording.json"
FINISH_MARK = "finish"


def follow(workspace: Path, answer: dict[str, Any], info: dict[str, Any]) -> None:
    """Remember the extraction and yt-dlp's part of it: when the stream has ended its page may not be readable any more, and what was recorded counts."""
    fresh = workspace / f"{FOLLOWED}.{os.getpid()}"
    fresh.write_text(json.dumps({"answer": answer, "info": info}), encoding="ascii")
    fresh.replace(workspace / FOLLOWED)


def begun(workspace: Path) -> dict[str, Any] | None:
    """``answer`` and ``info`` of a recording that has begun; None when nothing was recorded."""
    try:
        followed: dict[str, Any] = json.loads((workspace / FOLLOWED).read_text(encoding="ascii"))
        is_taped = all(is_begun(workspace / stream["file_name"]) for stream in followed["answer"]["streams"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return followed if is_taped else None


def ask_to_finish(workspace: Path) -> None:
    """Let the recording end as if the stream had; it may not even have begun. Repeating it changes nothing."""
    (workspace / FINISH_MARK).touch()


def is_asked_to_finish(workspace: Path) -> bool:
    return (workspace / FINISH_MARK).exists()
