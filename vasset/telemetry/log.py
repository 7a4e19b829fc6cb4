"""Structured logs: one stream, one shape, one redaction, for our events, libraries, uncaught errors and children alike.

Every line goes through the standard library's root handler, whose formatter redacts last; nothing can reach the stream around it.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import IO, Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from vasset.telemetry.redaction import redact

Format = Literal["console", "json"]

# Chatty at "info" without saying anything an operator could act on.
_QUIET = (
    "uvicorn.access",
    "aio_pika",
    "aiormq",
    "asyncio",
    "grpc",
    "httpx",
    "alembic",
    "sqlalchemy",
    "hpack",
)


LONGEST_CHILD_LINE = 2_048  # characters; longer ones are pages and tables, and each is searched for secrets


def configure_logging(*, format: Format = "console", level: str = "info", stream: IO[str] | None = None) -> None:
    """Send everything to ``stream`` (standard error by default). Call once, at start; calling again replaces it."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                _renderer(format, stream or sys.stderr),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):  # uvicorn brings handlers of its own
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def redact_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The processor that stands between every event and its rendering."""
    stamp = event.pop("timestamp", None)  # ours, and full of colons, which secrets are looked for behind
    clean: EventDict = redact(event)
    if stamp is not None:
        clean["timestamp"] = stamp
    return clean


def child_line(source: str, line: str) -> None:
    """Log what a child process wrote, at the severity its own prefix claims."""
    text = line[:LONGEST_CHILD_LINE].rstrip()
    if not text:
        return
    lowered = text[:64].lower()
    level = "error" if "error" in lowered else "warning" if "warning" in lowered else "debug"
    getattr(structlog.get_logger("vasset.child"), level)("child", source=source, line=text)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(format: Format, stream: IO[str]) -> Processor:
    if format == "json":
        return structlog.processors.JSONRenderer(serializer=_to_json)
    return structlog.dev.ConsoleRenderer(colors=stream.isatty())


def _to_json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=lambda value: redact(value), option=orjson.OPT_NON_STR_KEYS).decode()


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("vasset").critical("uncaught error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(details: threading.ExceptHookArgs) -> None:
    if details.exc_value is not None and details.exc_type is not SystemExit:
        _log_uncaught(details.exc_type, details.exc_value, details.exc_traceback)
