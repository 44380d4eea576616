"""The log on standard error: lines for people, or an object a line for machines (OLLA_LOG_FORMAT).

Either begins with the time, the level, and which process speaks, in which room.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from ollaproject.env import env_choice, env_str

if TYPE_CHECKING:
    from collections.abc import Iterable


@runtime_checkable
class Entries(Protocol):
    """A message that stands for several lines. For machines, each of them is an object with fields."""

    def entries(self) -> Iterable[dict[str, Any]]: ...


class LineFormatter(logging.Formatter):
    """Of a message with several lines, every one begins alike: a reader of lines can make sense of each."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        first, *others = record.message.split("\n")
        record.message = first
        text = super().formatMessage(record)
        if not others:
            return text
        beginning = text[: len(text) - len(first)]
        return "\n".join([text, *(beginning + other for other in others)])


class JsonFormatter(logging.Formatter):
    """One JSON object a line, tracebacks inside. `request_id` is there where a request is spoken of."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        common = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
        }
        said = cast("object", record.msg)
        if isinstance(said, Entries):
            return "\n".join(_line(common | entry) for entry in said.entries())
        fields: dict[str, Any] = {"message": record.getMessage()}
        if request_id := getattr(record, "request_id", None):
            fields["request_id"] = request_id
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return _line(common | fields)


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str)


def configuration() -> dict[str, Any]:
    """Django's LOGGING."""
    process = env_str("OLLA_PROCESS", "manage")  # which process of `manage.py serve` is speaking
    formatters = {
        "text": {
            "()": LineFormatter,
            "format": f"%(asctime)s %(levelname)-7s {process}: %(name)s: %(message)s",
            "datefmt": "%Y-%m-%d %H:%M:%S",
        },
        "json": {"()": JsonFormatter, "process": process},
    }
    chosen = env_choice("OLLA_LOG_FORMAT", formatters, "text")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {chosen: formatters[chosen]},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": chosen}},
        "root": {
            "handlers": ["stderr"],
            "level": env_choice("OLLA_LOG_LEVEL", ["DEBUG", "INFO", "WARNING", "ERROR"], "INFO"),
        },
        "loggers": {
            # httpx writes one line per request at INFO: health checks would fill the log.
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},  # what huggingface_hub speaks through
            # uvicorn counts its processes and connections at INFO; proxy.record has the request log.
            "uvicorn": {"level": "WARNING"},
            # django-axes tells of each sign-in that it has nothing to forget.
            "axes": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
        },
    }
