"""The short list people choose from: best, each height the video really has, audio; with sizes. Pure."""

from __future__ import annotations

from typing import Any

from vasset.adapters.extract.child.sizes import total
from vasset.adapters.extract.child.text import pixels

HEIGHTS = (2160, 1440, 1080, 720, 480, 360)
BETTER_IN_MP4 = ("avc", "h264")


def resolution(form: dict[str, Any]) -> int | None:
    """The shorter side, as yt-dlp counts ``res``: a portrait 1080 × 1920 is 1080p."""
    sides = [side for side in (pixels(form.get("height")), pixels(form.get("width"))) if side]
    return min(sides) if sides else None


def shortlist(formats: list[dict[str, Any]], duration: float | None) -> list[dict[str, Any]]:
    """``formats`` come as yt-dlp sorts them, worst first."""
    audio = [form for form in formats if form.get("vcodec") == "none" and form.get("acodec") != "none"]
    pictures = [form for form in formats if form.get("vcodec") != "none"]
    videos = [form for form in pictures if "AI-upscaled" not in str(form.get("format_note"))] or pictures
    choices: list[dict[str, Any]] = []
    if videos:
        choices.append(_choice("best", "Best", videos[-1], audio, duration))
        choices += [
            _choice(f"{height}p", _label(height), chosen, audio, duration)
            for height in HEIGHTS
            if (chosen := _at(height, videos)) is not None
        ]
    if audio or any(form.get("acodec") != "none" for form in videos):
        size = total([audio[-1]], duration) if audio else None
        choices.append({"quality": "audio", "label": "Audio only", "size_bytes": size})
    return choices


def _at(height: int, videos: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The format ``720p`` would choose, when the video has one between this height and the next lower one."""
    lower = next((each for each in HEIGHTS if each < height), 240)
    near = [form for form in videos if lower < (resolution(form) or 0) <= height]
    if not near:
        return None
    top = max(resolution(form) or 0 for form in near)
    highest = [form for form in near if resolution(form) == top]
    return next((form for form in reversed(highest) if str(form.get("vcodec")).startswith(BETTER_IN_MP4)), highest[-1])


def _choice(
    quality: str, label: str, video: dict[str, Any], audio: list[dict[str, Any]], duration: float | None
) -> dict[str, Any]:
    needs_audio = video.get("acodec") == "none" and audio
    parts = [video, audio[-1]] if needs_audio else [video]
    if video.get("acodec") == "none" and not audio:
        label += ", no sound"
    return {"quality": quality, "label": label, "size_bytes": total(parts, duration)}


def _label(height: int) -> str:
    return {2160: "4K (2160p)", 1440: "1440p", 1080: "Full HD (1080p)", 720: "HD (720p)"}.get(height, f"{height}p")
