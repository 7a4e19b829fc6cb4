"""A child's answers → domain objects. The child is not trusted: whatever does not fit is a crash, not a surprise later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from vasset.adapters.extract.addresses import is_well_formed
from vasset.adapters.extract.fitting import fitted
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
    Cookie,
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
    words, kind, retryable = _utf8(str(message["message"])), str(message["kind"]), bool(message["retryable"])
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
    info = fitted(
        MediaInfo,
        answer,
        formats=tuple(fitted(Format, form) for form in answer.get("formats", ())),
        qualities=tuple(fitted(QualityChoice, choice) for choice in answer.get("qualities", ())),
        entries=tuple(fitted(PlaylistEntry, entry) for entry in answer.get("entries", ())),
        extractor_version=version,
    )
    pictures = (each for each in (info.thumbnail, *(entry.thumbnail for entry in info.entries)) if each is not None)
    if not all(map(is_well_formed, [*pictures, *(entry.url for entry in info.entries)])):
        raise ValueError("an address that cannot be taken apart")
    return info


def extraction(answer: Mapping[str, Any], version: str) -> Extraction:
    streams = tuple(_stream(each) for each in answer["streams"])
    if not streams:
        raise ValueError("an extraction without streams")
    return fitted(Extraction, answer, streams=streams, info=dict(answer["info"]), extractor_version=version)


def _stream(answer: Mapping[str, Any]) -> Stream:
    if "/" in answer["file_name"] or answer["file_name"].startswith("."):
        raise ValueError("a stream outside the workspace")
    fragments = tuple(fitted(Fragment, piece) for piece in answer["fragments"])
    headers = {str(name): str(value) for name, value in answer["headers"].items()}
    cookies = tuple(fitted(Cookie, one) for one in answer["cookies"])
    return fitted(Stream, answer, fragments=fragments, headers=headers, cookies=cookies)


def processed(answer: Mapping[str, Any]) -> ProcessedMedia:
    remarks = tuple(_utf8(str(each)[:MAX_REMARK]) for each in answer.get("remarks", ()))[:MAX_REMARKS]
    return fitted(ProcessedMedia, answer, remarks=remarks)


def _utf8(words: str) -> str:
    return words.encode("utf-8", "replace").decode()
