"""Media information between domain and wire."""

from __future__ import annotations

from vasset.domain.media import Format, MediaInfo, PlaylistEntry, QualityChoice
from vasset.services.convert import optional
from vasset.services.proto import parser_pb2 as wire


def media_to_wire(info: MediaInfo) -> wire.MediaInfoMessage:
    return wire.MediaInfoMessage(
        url=info.url,
        kind=info.kind,
        id=info.id,
        title=info.title,
        site=info.site,
        duration_seconds=info.duration_seconds,
        thumbnail=info.thumbnail,
        uploader=info.uploader,
        is_live=info.is_live,
        formats=[_format_to_wire(offered) for offered in info.formats],
        qualities=[
            wire.QualityChoiceMessage(quality=choice.quality, label=choice.label, size_bytes=choice.size_bytes)
            for choice in info.qualities
        ],
        entries=[
            wire.PlaylistEntryMessage(
                url=entry.url, title=entry.title, duration_seconds=entry.duration_seconds, thumbnail=entry.thumbnail
            )
            for entry in info.entries
        ],
        entry_count=info.entry_count,
        extractor_version=info.extractor_version,
    )


def media_from_wire(message: wire.MediaInfoMessage) -> MediaInfo:
    return MediaInfo(
        url=message.url,
        kind="playlist" if message.kind == "playlist" else "single",
        id=message.id,
        title=message.title,
        site=message.site,
        duration_seconds=optional(message, "duration_seconds"),
        thumbnail=optional(message, "thumbnail"),
        uploader=optional(message, "uploader"),
        is_live=message.is_live,
        formats=[_format_from_wire(offered) for offered in message.formats],
        qualities=[
            QualityChoice(quality=choice.quality, label=choice.label, size_bytes=optional(choice, "size_bytes"))
            for choice in message.qualities
        ],
        entries=[
            PlaylistEntry(
                url=entry.url,
                title=optional(entry, "title"),
                duration_seconds=optional(entry, "duration_seconds"),
                thumbnail=optional(entry, "thumbnail"),
            )
            for entry in message.entries
        ],
        entry_count=optional(message, "entry_count"),
        extractor_version=optional(message, "extractor_version"),
    )


def _format_to_wire(offered: Format) -> wire.FormatMessage:
    return wire.FormatMessage(
        id=offered.id,
        ext=offered.ext,
        protocol=offered.protocol,
        height=offered.height,
        width=offered.width,
        fps=offered.fps,
        video_codec=offered.video_codec,
        audio_codec=offered.audio_codec,
        size_bytes=offered.size_bytes,
        size_is_estimate=offered.size_is_estimate,
        bitrate_kbps=offered.bitrate_kbps,
        language=offered.language,
        note=offered.note,
    )


def _format_from_wire(message: wire.FormatMessage) -> Format:
    return Format(
        id=message.id,
        ext=message.ext,
        protocol=message.protocol,
        height=optional(message, "height"),
        width=optional(message, "width"),
        fps=optional(message, "fps"),
        video_codec=optional(message, "video_codec"),
        audio_codec=optional(message, "audio_codec"),
        size_bytes=optional(message, "size_bytes"),
        size_is_estimate=message.size_is_estimate,
        bitrate_kbps=optional(message, "bitrate_kbps"),
        language=optional(message, "language"),
        note=optional(message, "note"),
    )
