"""The log on standard error: lines for people, or an object a line for machines (OLLA_LOG_FORMAT).

Either begins with the time, the level, and which process speaks, in which room.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from ollaproject.env import env_choice, env_str

if TYPE_CHECKING:
    from collections.abc import Iterable


# By name: of Django, kombu, Redis and Celery's beat, which are not imported for that.
OUTAGES = frozenset({"OperationalError", "InterfaceError", "ConnectionError", "SchedulingError"})
REFUSAL = "PermissionDenied"  # Django's, by name for the same reason
TOLD_AGAIN_SECONDS = 60.0


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
        return ("\n" + beginning).join([text, *others])


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


class Outages(logging.Filter):
    """Celery's tasks and beat tell each second, by a traceback, of a database or broker that is away.

    Of that one line is left, once a minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._silent_until: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        names = {kind.__name__ for kind in type(error).__mro__}
        if not record.name.startswith("celery.") or names.isdisjoint(OUTAGES):
            return True
        which, now = (record.name, type(error).__name__), time.monotonic()
        if now < self._silent_until.get(which, 0):
            return False
        self._silent_until[which] = now + TOLD_AGAIN_SECONDS
        first_line = record.getMessage().partition("\n")[0]
        record.msg, record.args = f"{first_line} (said once a minute, as long as it is so)", ()
        record.exc_info = record.exc_text = None
        return True


class Refusals(logging.Filter):
    """Somebody who may not see a page is no fault of the program: one line, without Django's traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if record.name == "django.request" and type(error).__name__ == REFUSAL:
            record.exc_info = record.exc_text = None
        return True


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
        "filters": {"outages": {"()": Outages}, "refusals": {"()": Refusals}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": chosen,
                "filters": ["outages", "refusals"],
            }
        },
        "root": {
            "handlers": ["stderr"],
            "level": env_choice("OLLA_LOG_LEVEL", ["DEBUG", "INFO", "WARNING", "ERROR"], "INFO"),
        },
        "loggers": {
            # httpx writes one line per request at INFO: health checks would fill the log.
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},  # what huggingface_hub speaks through
            # uvicorn counts its processes and connections at INFO; proxy.records.record has the request log.
            "uvicorn": {"level": "WARNING"},
            # django-axes tells of each sign-in that it has nothing to forget.
            "axes": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
        },
    }
