"""How large a format will be: what the site says, else bitrate × duration."""

from __future__ import annotations

from typing import Any

from vasset.adapters.extract.child.text import count, seconds


def estimate(form: dict[str, Any], duration: float | None) -> tuple[int | None, bool]:
    """``(bytes, is_estimate)``; bitrates are kilobits a second."""
    if (exact := count(form.get("filesize"))) is not None and exact > 0:
        return exact, False
    if (near := count(form.get("filesize_approx"))) is not None and near > 0:
        return near, True
    rate = seconds(form.get("tbr")) or sum(seconds(form.get(name)) or 0 for name in ("vbr", "abr"))
    if rate and duration:
        return int(rate * 1000 / 8 * duration), True
    return None, True


def total(formats: list[dict[str, Any]], duration: float | None) -> int | None:
    """The sum, None as soon as one is unknown."""
    sizes = [estimate(form, duration)[0] for form in formats]
    return None if None in sizes else sum(size for size in sizes if size is not None)
