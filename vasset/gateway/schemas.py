"""Bodies, parameters and answers of the API as pydantic models: strict, closed, and the source of ``/openapi.json``.

Answers are written by ``shapes.py`` without going through these models (that costs 100 µs a request); a contract test holds the two together.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from vasset.domain.media import is_quality

MAX_URL_BYTES = 8192
MAX_ROW_ID = 2**63 - 1

Data = TypeVar("Data")
Item = TypeVar("Item")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _printable(text: str) -> str:
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("must not hold control characters")
    return text


def _quality(text: str) -> str:
    if not is_quality(text):
        raise ValueError("must be best, 2160p … 360p, audio, or a format id that /parse lists")
    return text


def _digits(value: Any) -> Any:
    """Query numbers are plain ASCII digits; pydantic would also take ``1_0``, ``+1``, `` 1`` and ``1.0``."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 19):
        raise ValueError("must be a whole number")
    return value


Line = Annotated[str, AfterValidator(_printable)]
Url = Annotated[Line, Field(min_length=1, max_length=MAX_URL_BYTES, json_schema_extra={"format": "uri"})]
Email = Annotated[Line, Field(min_length=3, max_length=254)]
Password = Annotated[str, Field(min_length=1, max_length=1024)]
Digits = BeforeValidator(_digits)
"""Last, around the bounds: before them they would not be in the contract as ``minimum`` and ``maximum``."""
ModeName = Literal["quick_download", "archive_download"]
ContainerName = Literal["mp4", "mkv", "webm", "mp3", "m4a", "opus", "flac", "original"]
StatusName = Literal["queued", "running", "retry", "paused", "completed", "failed", "cancelled"]
PhaseName = Literal[
    "queued", "parsing", "downloading", "merging", "postprocessing", "finalizing",
    "completed", "failed", "cancelled", "paused",
]  # fmt: skip
FaultName = Literal["user", "site", "exit", "pace", "extractor", "us"]
RoleName = Literal["free", "premium", "admin"]


# --- requests --------------------------------------------------------------------------------------------------------


class RegisterBody(Body):
    email: Email
    password: Password
    nickname: Annotated[Line, Field(min_length=1, max_length=64)]
    invitation: Annotated[Line, Field(max_length=128)] | None = None


class LoginBody(Body):
    email: Email
    password: Password


class RefreshBody(Body):
    refresh_token: Annotated[Line, Field(min_length=1, max_length=4096)]


class PasswordBody(Body):
    current_password: Password
    new_password: Password


class RoleBody(Body):
    role: RoleName


class ParseBody(Body):
    url: Url
    playlist_page: Annotated[int, Field(ge=1, le=10_000)] = 1


class DownloadBody(Body):
    url: Url
    mode: ModeName = "quick_download"
    quality: Annotated[str, AfterValidator(_quality), Field(max_length=64)] = "best"
    format: ContainerName = "mp4"
    subtitles: bool = Field(True, description="Embed written subtitles (up to three languages) in a video file.")
    title: Annotated[Line, Field(max_length=500)] | None = None
    duration_seconds: Annotated[float, Field(ge=0, le=10_000_000)] | None = None


class FileTicketBody(Body):
    history_id: Annotated[int, Field(ge=1, le=MAX_ROW_ID)]


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PageQuery(Query):
    page: Annotated[int, Field(ge=1, le=1_000_000), Digits] = 1
    per_page: Annotated[int, Field(ge=1, le=100), Digits] = 20


class HistoryQuery(PageQuery):
    q: Annotated[Line, Field(max_length=200)] | None = None


class DownloadsQuery(PageQuery):
    status: list[StatusName] = Field(default=[], max_length=7, description="Repeat it to ask for several.")


class FileQuery(Query):
    history_id: Annotated[int, Field(ge=1, le=MAX_ROW_ID), Digits]
    ticket: Annotated[str, Field(max_length=64)] | None = None
    inline: Literal["0", "1"] = "0"


# --- answers ---------------------------------------------------------------------------------------------------------


class Envelope(BaseModel, Generic[Data]):
    code: Literal[0]
    message: Literal["ok"]
    data: Data


class FailureBody(BaseModel):
    code: int = Field(description="HTTP status × 100 + n")
    message: str
    retryable: bool
    reason: str = Field(description="Stable word for programs")
    request_id: str | None
    kind: str | None = Field(None, description="Of what went wrong with a site; only where the reason is about one")
    fault: FaultName | None = None
    action: str | None = Field(None, description="What the reader can do next")
    problems: list[dict[str, str]] | None = None


class Empty(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PageOf(BaseModel, Generic[Item]):
    items: list[Item]
    page: int
    per_page: int
    total: int


class UserData(BaseModel):
    id: int
    email: str
    nickname: str
    role: RoleName
    created_at: datetime


class TokenData(BaseModel):
    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    refresh_expires_in: int


class SignedInData(TokenData):
    user: UserData


class SessionData(BaseModel):
    id: int
    created_at: datetime
    expires_at: datetime
    user_agent: str | None
    current: bool


class InvitationData(BaseModel):
    invitation: str


class FormatData(BaseModel):
    id: str
    ext: str
    protocol: str
    height: int | None
    width: int | None
    fps: float | None
    video_codec: str | None
    audio_codec: str | None
    size_bytes: int | None
    size_is_estimate: bool
    bitrate_kbps: float | None
    language: str | None
    note: str | None


class QualityData(BaseModel):
    quality: str
    label: str
    size_bytes: int | None


class EntryData(BaseModel):
    url: str
    title: str | None
    duration_seconds: float | None
    thumbnail: str | None


class MediaData(BaseModel):
    url: str
    kind: Literal["single", "playlist"]
    id: str
    title: str
    site: str
    duration_seconds: float | None
    thumbnail: str | None
    uploader: str | None
    is_live: bool
    formats: list[FormatData]
    qualities: list[QualityData]
    entries: list[EntryData]
    entry_count: int | None


class AcceptedData(BaseModel):
    task_id: str
    history_id: int
    status: StatusName


class ErrorData(BaseModel):
    reason: str
    kind: str = Field(description="Finer than the reason: what a site said, such as geo_blocked or rate_limited")
    fault: FaultName = Field(description="Who has to do something")
    message: str
    action: str = Field(description="What the reader can do next")
    retryable: bool
    retry_at: datetime | None = Field(description="When it is tried again by itself")


class WaitingData(BaseModel):
    """Why a download does not go on just now. ``message`` is for people; ``reason`` is one of a short list."""

    reason: Literal["disk", "memory", "load", "site", "user", "slots", "turn"]
    message: str


class TaskData(BaseModel):
    task_id: str
    history_id: int
    url: str
    title: str | None
    mode: ModeName
    quality: str
    format: ContainerName
    status: StatusName
    phase: PhaseName
    percent: float | None
    downloaded_bytes: int
    total_bytes: int | None
    total_is_estimate: bool
    speed_bytes_per_second: float | None
    eta_seconds: float | None
    attempt: int
    seq: int
    waiting_for: WaitingData | None
    is_live: bool
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    error: ErrorData | None


class FileData(BaseModel):
    name: str | None
    size_bytes: int | None
    hash: str | None
    hash_algorithm: str | None
    expires_at: datetime | None
    address: str


class TaskWithFileData(TaskData):
    file: FileData | None


class HistoryData(BaseModel):
    id: int
    task_id: str
    url: str
    title: str | None
    mode: ModeName
    status: StatusName
    file_name: str | None
    file_size: int | None
    file_hash: str | None
    hash_algorithm: str | None
    duration_seconds: float | None
    created_at: datetime
    completed_at: datetime | None
    expire_at: datetime | None
    has_file: bool


class QuotaData(BaseModel):
    daily_limit: int
    daily_used: int
    remaining: int
    reset_at: datetime


class StatisticsData(BaseModel):
    tasks_by_status: dict[str, int]
    stored_bytes: int
    downloaded_bytes: int
    completed_today: int
    success_rate: float | None


class TicketData(BaseModel):
    ticket: str
    expires_in: int


class ReadinessData(BaseModel):
    ready: bool
    parts: dict[str, str]
