"""A child's answers → domain objects. The child is not trusted: whatever does not fit is a crash, not a surprise later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from vasset.adapters.extract.nursery import crashed
from vasset.domain.errors import (
    DiskFull,
    EgressRefused,
    ExtractionFailed,
    PostprocessFailed,
    TransferFailed,
    UnavailableFormat,
    UnsupportedSite,
    VAssetError,
)
from vasset.domain.media import (
    Extraction,
    Format,
    Fragment,
    MediaInfo,
    PlaylistEntry,
    ProcessedMedia,
    QualityChoice,
    Stream,
)

Answer = TypeVar("Answer")
MAX_REMARKS = 12
MAX_REMARK = 300


def result(message: Mapping[str, Any], build: Callable[[Mapping[str, Any]], Answer]) -> Answer:
    """The domain object of a ``done`` message, or the domain error of a ``failed`` one raised."""
    if message["event"] == "failed":
        raise failure(message)
    try:
        return build(message["result"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise crashed("The extraction child answered nonsense; the page is tried again.") from error


def failure(message: Mapping[str, Any]) -> VAssetError:
    words, kind, retryable = str(message["message"]), str(message["kind"]), bool(message["retryable"])
    match message["error"]:
        case "unsupported":
            return UnsupportedSite(words)
        case "format":
            return UnavailableFormat(words)
        case "egress":
            return EgressRefused(words)
        case "postprocess":
            return PostprocessFailed(words, retryable=retryable)
        case "transfer":
            return TransferFailed(words, kind="native" if kind == "other" else kind, retryable=retryable)
        case "disk_full":
            return DiskFull(words)
        case _:
            return ExtractionFailed(words, kind=kind, retryable=retryable)


def media_info(answer: Mapping[str, Any], version: str) -> MediaInfo:
    fields = dict(answer)
    return MediaInfo(
        **fields
        | {
            "formats": tuple(Format(**form) for form in fields.get("formats", ())),
            "qualities": tuple(QualityChoice(**choice) for choice in fields.get("qualities", ())),
            "entries": tuple(PlaylistEntry(**entry) for entry in fields.get("entries", ())),
            "extractor_version": version,
        }
    )


def extraction(answer: Mapping[str, Any], version: str) -> Extraction:
    streams = tuple(_stream(each) for each in answer["streams"])
    if not streams:
        raise ValueError("an extraction without streams")
    return Extraction(**dict(answer) | {"streams": streams, "extractor_version": version})


def _stream(answer: Mapping[str, Any]) -> Stream:
    if "/" in answer["file_name"] or answer["file_name"].startswith("."):
        raise ValueError("a stream outside the workspace")
    return Stream(**dict(answer) | {"fragments": tuple(Fragment(**piece) for piece in answer["fragments"])})


def processed(answer: Mapping[str, Any]) -> ProcessedMedia:
    remarks = tuple(str(each)[:MAX_REMARK] for each in answer.get("remarks", ()))[:MAX_REMARKS]
    return ProcessedMedia(**dict(answer) | {"remarks": remarks})
