"""One command of ffmpeg that makes the file: streams, subtitles, tags, chapters and cover in a single pass. Pure.

yt-dlp's own post-processors read and write the whole film once each, up to five times, and fail it for a cover.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vasset.adapters.extract.child.containers import COPIED_INTO, MUXERS, TEXT_SUBTITLES, Selection
from vasset.adapters.extract.child.pieces import Piece

# yt-dlp's quality 2 for mp3; the others at what nobody hears a difference above.
ENCODERS = {
    "mp3": ("libmp3lame", "-q:a", "2"), "m4a": ("aac", "-b:a", "192k"), "opus": ("libopus", "-b:a", "160k"), "flac": ("flac",),
}  # fmt: skip
SUBTITLE_CODECS = {"mp4": "mov_text", "webm": "webvtt"}
MATROSKA_SUBTITLES = {"mov_text": "srt", "webvtt": "srt", "text": "srt", "eia_608": "srt"}
HOLD_ATTACHED_PICTURE = frozenset({"mp4", "m4a", "mp3", "flac"})
HOLD_COVER = HOLD_ATTACHED_PICTURE | {"mkv", "mka", "opus", "ogg"}
OGG = frozenset({"opus", "ogg"})
HOLD_CHAPTERS = frozenset({"mp4", "m4a", "mkv", "mka", "webm", "mp3", "opus", "ogg"})


@dataclass(frozen=True, slots=True)
class Subtitle:
    """A file of subtitles besides the streams."""

    path: Path
    codec: str
    language: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Extras:
    """What a file can do without. ``metadata`` is a file in ffmpeg's form: chapters, and Ogg's cover."""

    tags: dict[str, str] = field(default_factory=dict)
    metadata: Path | None = None
    cover: Path | None = None
    subtitles: tuple[Subtitle, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    ext: str
    files: tuple[Path, ...]
    selection: Selection
    extras: Extras
    languages: tuple[str | None, ...] = ()  # of the sounds

    @property
    def is_converted(self) -> bool:
        """Whether the sound is encoded again."""
        return self.ext in COPIED_INTO and any(
            sound.codec not in COPIED_INTO[self.ext] for sound in self.selection.sounds
        )

    def arguments(self, made: Path) -> list[str]:
        """Without the program's name."""
        extras = self.extras
        attached = extras.cover if self.ext in HOLD_ATTACHED_PICTURE else None
        others = [subtitle.path for subtitle in extras.subtitles] + [
            path for path in (extras.metadata, attached) if path is not None
        ]
        words = ["-hide_banner", "-loglevel", "repeat+warning", "-y"]
        for path in (*self.files, *others):
            words += ["-i", f"file:{path}"]
        words += self._maps(cover_input=len(self.files) + len(others) - 1 if attached is not None else None)
        words += ["-c", "copy", *self._sound(), *self._subtitles()]
        if extras.metadata is not None:
            words += self._metadata(len(self.files) + len(extras.subtitles))
        words += [word for name, value in extras.tags.items() for word in ("-metadata", f"{name}={value}")]
        words += self._cover(is_attached=attached is not None)
        if self.ext in {"mp4", "m4a"}:
            words += ["-movflags", "+faststart"]
        if self.ext == "mp3":
            words += ["-id3v2_version", "3", "-write_id3v1", "1"]
        return [*words, "-f", self._muxer(), f"file:{made}"]

    def _maps(self, *, cover_input: int | None) -> list[str]:
        chosen = self.selection
        words = [word for piece in (*chosen.pictures, *chosen.sounds) for word in ("-map", piece.address)]
        for piece in self._own_subtitles():
            words += ["-map", piece.address]
        for number in range(len(self.extras.subtitles)):
            words += ["-map", f"{len(self.files) + number}:s:0"]
        if self.ext in {"mkv", "mka"}:
            for piece in chosen.attachments:
                words += ["-map", piece.address]
        if cover_input is not None:
            words += ["-map", f"{cover_input}:v:0"]
        elif self.extras.cover is None and self.ext in HOLD_ATTACHED_PICTURE:
            words += [word for piece in chosen.covers[:1] for word in ("-map", piece.address)]
        return words

    def _sound(self) -> list[str]:
        words: list[str] = []
        if self.is_converted:
            codec, *quality = ENCODERS[self.ext]
            words += ["-c:a", codec, *quality]
            if codec in {"libopus", "libmp3lame"} and self.selection.sounds[0].is_surround:
                words += ["-ac", "2"]  # libopus refuses the layout that AC-3 has
        for number, language in enumerate(self.languages):
            words += [f"-metadata:s:a:{number}", f"language={language}"] if language else []
        return words

    def _own_subtitles(self) -> list[Piece]:
        """Those inside the streams that this container takes, converted or not."""
        if self.ext in {"mkv", "mka"}:
            return list(self.selection.subtitles)
        return [
            piece for piece in self.selection.subtitles if self.ext in SUBTITLE_CODECS and piece.codec in TEXT_SUBTITLES
        ]

    def _subtitles(self) -> list[str]:
        own = self._own_subtitles()
        words: list[str] = []
        for number, codec in enumerate(
            [*(piece.codec for piece in own), *(each.codec for each in self.extras.subtitles)]
        ):
            wanted = SUBTITLE_CODECS.get(self.ext) or MATROSKA_SUBTITLES.get(codec, "copy")
            words += [f"-c:s:{number}", "copy" if wanted == codec else wanted]
        for number, subtitle in enumerate(self.extras.subtitles, len(own)):
            words += [f"-metadata:s:s:{number}", f"language={subtitle.language or 'und'}"]
            words += [f"-metadata:s:s:{number}", f"title={subtitle.name}"] if subtitle.name else []
        return words

    def _metadata(self, number: int) -> list[str]:
        words = ["-map_chapters", str(number)] if self.ext in HOLD_CHAPTERS else []
        return [*words, "-map_metadata", str(number)] if self.ext in OGG else words

    def _cover(self, *, is_attached: bool) -> list[str]:
        """Ogg's is in the metadata file, Matroska's an attachment, the others' a stream of one picture."""
        if is_attached:
            number = len(self.selection.pictures)
            words = [f"-disposition:v:{number}", "attached_pic"]
            front = [f"-metadata:s:v:{number}", "title=Album cover", f"-metadata:s:v:{number}", "comment=Cover (front)"]
            return [*words, *(front if self.ext in {"mp3", "flac"} else [])]
        if self.extras.cover is not None and self.ext in {"mkv", "mka"}:
            mime = "png" if self.extras.cover.suffix == ".png" else "jpeg"
            number = len(self.selection.attachments)
            named = [f"-metadata:s:t:{number}", f"mimetype=image/{mime}"]
            return [
                "-attach",
                str(self.extras.cover),
                *named,
                f"-metadata:s:t:{number}",
                f"filename=cover{self.extras.cover.suffix}",
            ]
        return []

    def _muxer(self) -> str:
        """Apple's form of MP4 takes Apple's codecs only."""
        if self.ext == "m4a" and not self.is_converted and not self.selection.codecs <= {"aac", "alac"}:
            return "mp4"
        return MUXERS[self.ext]
