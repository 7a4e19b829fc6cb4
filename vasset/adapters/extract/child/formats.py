"""Quality and container → yt-dlp's format expression and sort order. Pure.

``lang`` leads every order: yt-dlp ranks the original language highest, so a dubbed track never wins by bitrate.
Heights are an order, not a filter: ``720p`` of a video that exists in 480p only is 480p, not an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vasset.domain.media import is_quality

HEIGHT = re.compile(r"([1-9][0-9]{1,3})p\Z")
AUDIO_CONTAINERS = frozenset({"mp3", "m4a", "opus", "flac"})
AUDIO_OF_VIDEO_CONTAINER = {"mp4": "m4a", "webm": "opus", "mkv": "original", "original": "original"}
# Protocols somebody here can fetch: the engine, or yt-dlp's own downloaders through the guard.
FETCHABLE = "[protocol~='^(https?|m3u8|m3u8_native|http_dash_segments|ism|f4m)$']"
# YouTube's pictures of a size that nobody filmed: only for who asks for one by its id, or where there is nothing else.
FILMED = "[format_note!*=?'AI-upscaled']"
# Messages that somebody sends while it happens; where there is nothing else.
MESSAGES = "[protocol='websocket_frag']"
# Chosen when nothing else exists, to be refused by its name: "there is no such quality" would not be true.
ANYTHING = "b*"
UNFETCHABLE = re.compile(r"(?!(?:https?|m3u8|m3u8_native|http_dash_segments|ism|f4m|websocket_frag)$)")
# What can be recorded while it happens; a muxed stream first, whose sound and picture cannot drift apart.
LIVE = "[protocol~='^(https?|m3u8|m3u8_native|websocket_frag)$']"


class FormatRefused(Exception):
    """The quality is neither one of ours nor a plain format id."""


@dataclass(frozen=True, slots=True)
class Choice:
    """``target`` is the container after phase two; ``original`` leaves what the site serves."""

    expression: str
    sort: tuple[str, ...]
    target: str
    audio_only: bool


def choose(quality: str, container: str) -> Choice:
    """Raise :class:`FormatRefused` for anything that is not a known word, a height or a format id."""
    if quality == "audio" or (container in AUDIO_CONTAINERS and (quality == "best" or HEIGHT.match(quality))):
        return _audio(container)
    if quality == "best" or HEIGHT.match(quality):
        return _video(quality, container)
    return _by_id(quality, container)


def while_live(choice: Choice) -> str:
    """The expression for a stream that is being broadcast: only what can be recorded, in one piece where there is one."""
    if choice.audio_only:
        return f"ba{LIVE}/b{LIVE}"
    if "format_id" in choice.expression:
        return choice.expression
    return f"b{LIVE}/bv{LIVE}+ba{LIVE}/bv*{LIVE}/ba{LIVE}"


def _audio(container: str) -> Choice:
    target = container if container in AUDIO_CONTAINERS else AUDIO_OF_VIDEO_CONTAINER[container]
    codec = {"m4a": "acodec:aac", "opus": "acodec:opus", "mp3": "acodec:mp3"}.get(target)
    sort = ("lang", *((codec,) if codec and target != "mp3" else ()), "quality", "abr")
    return Choice(f"ba{FETCHABLE}/b{FETCHABLE}/b{MESSAGES}/{ANYTHING}", sort, target, audio_only=True)


def _video(quality: str, container: str) -> Choice:
    height = HEIGHT.match(quality)
    resolution = f"res:{height[1]}" if height else "res"
    filmed = f"bv*{FETCHABLE}{FILMED}+ba{FETCHABLE}/b{FETCHABLE}{FILMED}/bv*{FETCHABLE}{FILMED}"
    separate = f"{filmed}/bv*{FETCHABLE}+ba{FETCHABLE}/b{FETCHABLE}/bv*{FETCHABLE}/b{MESSAGES}/{ANYTHING}"
    if container == "webm":
        separate = f"bv*[ext=webm]{FETCHABLE}+ba[ext=webm]{FETCHABLE}/b[ext=webm]{FETCHABLE}/bv*[ext=webm]{FETCHABLE}"
    return Choice(separate, ("lang", resolution, *_order(container)), container, audio_only=False)


def _by_id(quality: str, container: str) -> Choice:
    ids = quality.split("+")
    if len(ids) > 2 or not is_quality(quality) or not all(ids):
        raise FormatRefused("choose best, audio, a height like 1080p, or a format id that /parse lists")
    is_sound = container in AUDIO_CONTAINERS
    if len(ids) == 2:
        expression = f"b*{_named(ids[0])}{FETCHABLE}+b*{_named(ids[1])}{FETCHABLE}"
    else:
        wanted = f"{_named(quality)}{FETCHABLE}"
        expression = f"bv{wanted}+ba{FETCHABLE}/b*{wanted}"
        if is_sound:  # a sound that was chosen is that sound, whatever it is made into
            expression = f"b*{wanted}[acodec!=?none]/{expression}"
    return Choice(expression, ("lang", "quality", *_order(container)), container, audio_only=is_sound)


def _named(identifier: str) -> str:
    """A filter for one id, every character of it as its number: no id of a site or of a user is part of an expression's grammar."""
    spelled = "".join(f"\\U{ord(character):08x}" for character in identifier)
    return f"[format_id~='^{spelled}\\Z']"


def _order(container: str) -> tuple[str, ...]:
    """Among equals in height, what the container is for: an mp4 that telephones and televisions play (H.264, AAC, no HDR), before
    more pictures a second; a webm without conversion."""
    if container == "mp4":
        return ("hdr:sdr", "vcodec:h264", "acodec:aac", "ext:mp4:m4a", "fps")
    if container == "webm":
        return ("fps", "hdr:12", "ext:webm:webm")
    return ("fps", "hdr:12")
