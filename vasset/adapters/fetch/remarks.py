"""What the engine has to say about a file that came well, in words."""

from __future__ import annotations

REMARKS = {
    "end_unannounced": "the server told neither its length nor, by close_notify, its end: had the connection been cut, it would look the same",
    "unpacked": "it came compressed and was unpacked: size and digest are of what it stands for",
}


def gaps(missing: int) -> list[str]:
    """What a stream with holes has to say for itself; nothing of one without."""
    return [f"{missing} of its segments are missing: the origin does not have them"] if missing else []


def in_words(remark: str) -> str:
    """Words stay what they are."""
    return REMARKS.get(remark, remark)
