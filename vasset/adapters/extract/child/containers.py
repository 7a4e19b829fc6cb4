"""Which container holds what was fetched: the one that was asked for, else the nearest that does, and the words about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vasset.adapters.extract.child.pieces import Piece

TEXT_SUBTITLES = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
MP4 = frozenset(
    {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mpeg1video", "vvc",
     "aac", "mp3", "ac3", "eac3", "alac", "opus", "mp2", "dts", "mp4als", "aac_latm"}
)  # fmt: skip
WEBM = frozenset({"vp8", "vp9", "av1", "opus", "vorbis"})
# Sound alone, by its codec; what is not here stays as it came, or goes into Matroska.
SOUND_FILES = {
    "aac": "m4a", "alac": "m4a", "mp3": "mp3", "opus": "opus", "vorbis": "ogg", "flac": "flac",
    "ac3": "ac3", "eac3": "eac3", "mp2": "mp2", "pcm_s16le": "wav", "pcm_s24le": "wav", "pcm_f32le": "wav", "pcm_u8": "wav",
}  # fmt: skip
# What an audio container is made of without an encoder; anything else is encoded.
COPIED_INTO = {"m4a": {"aac", "alac"}, "mp3": {"mp3"}, "opus": {"opus"}, "flac": {"flac"}}
MUXERS = {
    "mp4": "mp4", "mkv": "matroska", "mka": "matroska", "webm": "webm", "m4a": "ipod", "mp3": "mp3", "opus": "opus", "ogg": "ogg",
    "flac": "flac", "wav": "wav", "ac3": "ac3", "eac3": "eac3", "mp2": "mp2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Selection:
    """The streams that become the file."""

    pictures: tuple[Piece, ...]
    sounds: tuple[Piece, ...]
    subtitles: tuple[Piece, ...]
    attachments: tuple[Piece, ...]
    covers: tuple[Piece, ...]

    @property
    def codecs(self) -> set[str]:
        return {piece.codec for piece in (*self.pictures, *self.sounds)}


def select(pieces: Sequence[Piece], *, audio_only: bool) -> Selection:
    """The first file's picture, and the sound of another file where there is one, else its own."""

    def of(kind: str, file: int | None) -> tuple[Piece, ...]:
        return tuple(piece for piece in pieces if piece.kind == kind and (file is None or piece.file == file))

    picture_file = None if audio_only else next((piece.file for piece in of("video", None)), None)
    files = dict.fromkeys(piece.file for piece in of("audio", None))
    sound_file = next((file for file in files if file != picture_file), picture_file)
    sounds = of("audio", sound_file) if sound_file is not None else ()
    if picture_file is None:
        return Selection((), sounds[:1] if audio_only else sounds, (), (), of("cover", sound_file))
    return Selection(
        of("video", picture_file),
        sounds,
        of("subtitle", picture_file),
        of("attachment", picture_file),
        of("cover", picture_file),
    )


def sound_container(target: str, selection: Selection) -> str:
    """``original`` is whatever file its codec usually lies in."""
    return target if target in COPIED_INTO else SOUND_FILES.get(selection.sounds[0].codec, "mka")


def video_container(target: str, selection: Selection) -> tuple[str, str | None]:
    """The extension and, when it is not what was asked for, why."""
    codecs = selection.codecs
    if not selection.pictures:
        if target == "mkv":
            return "mkv", None
        ext = sound_container("original", selection)
        return (
            ext,
            None if target == "original" else f"there is no picture, only sound: the file is {ext}, not {target}",
        )
    is_text = all(piece.codec in TEXT_SUBTITLES for piece in selection.subtitles)
    fits = {"mp4": codecs <= MP4 and is_text, "webm": codecs <= WEBM and is_text, "mkv": True}
    if target == "original":
        return next(ext for ext in ("webm", "mp4", "mkv") if fits[ext] and (ext != "webm" or "vp9" in codecs)), None
    if fits[target]:
        return target, None
    ext = "webm" if fits["webm"] and not selection.attachments else "mkv"
    foreign = sorted(codecs - (MP4 if target == "mp4" else WEBM))
    what = " and ".join(foreign) if foreign else "subtitles that are pictures"
    return ext, f"{target} cannot hold {what}: the file is {ext}"
