"""A line for each request that is over, without content. Lines go out together, a few times a second.

Written one by one they cost 10 µs each (record, caller, time, lock, flush), in a batch of a hundred 0.3 µs.
A batch is one log record, whose lines `ollaproject.logs` gives the same beginning.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.answer.usage import Tokens
    from proxy.records.record import Outcome

logger = logging.getLogger("proxy.record")

WRITE_INTERVAL_SECONDS = 0.2

_all: weakref.WeakSet[RequestLog] = weakref.WeakSet()


@atexit.register  # Daphne has no lifespan protocol
def write_all() -> None:
    """Write what waits in this process."""
    for each in list(_all):
        each.write()


class RequestLog:
    """The lines of one process. For one event loop."""

    def __init__(self) -> None:
        self._waiting: list[Outcome] = []
        _all.add(self)

    def add(self, outcome: Outcome) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_later(WRITE_INTERVAL_SECONDS, self.write)
        self._waiting.append(outcome)

    def write(self) -> None:
        """Write what waits."""
        outcomes, self._waiting = self._waiting, []
        if outcomes and logger.isEnabledFor(logging.INFO):
            logger.info(Requests(outcomes))


class Requests:
    """A batch of the log, as lines of text, or as fields (`ollaproject.logs.Entries`)."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        self._outcomes = outcomes

    def __str__(self) -> str:
        return "\n".join(map(line, self._outcomes))

    def entries(self) -> Iterable[dict[str, Any]]:
        """What is known of each request. Times are in milliseconds."""
        return map(fields, self._outcomes)


def fields(outcome: Outcome) -> dict[str, Any]:
    """The same for machines."""
    told: dict[str, Any] = {
        "message": "request",
        "request_id": outcome.request_id,
        "method": outcome.method,
        "route": outcome.route,
        "status": outcome.status,
        "endpoint": outcome.endpoint,
        "model": outcome.model,
        "served_model": outcome.served_model,
        "stream": outcome.stream,
        "duration_ms": _milliseconds(outcome.duration),
        "ttft_ms": _milliseconds(outcome.ttft),
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
        "error": outcome.error_code,
        "client_left": outcome.client_left,
        "attempts": [{"endpoint": each.endpoint, "failure": each.reason} for each in outcome.attempts],
    }
    if outcome.tokens is not None:
        tokens = outcome.tokens
        told |= {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.completion,
            "cached_tokens": tokens.cached,
        }
    return told


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def line(outcome: Outcome) -> str:
    """What the log says of a request."""
    return (
        f"{outcome.request_id} {outcome.method} {outcome.route} {outcome.status or '-'} "
        f"{outcome.endpoint or '-'} {outcome.model or '-'} {outcome.duration * 1000:.0f}ms "
        f"in={outcome.bytes_in} out={outcome.bytes_out}{_spent(outcome.tokens)}{_remarks(outcome)}"
    )


def _spent(tokens: Tokens | None) -> str:
    if tokens is None:
        return ""
    prompt = "" if tokens.prompt is None else f" prompt={tokens.prompt}"
    completion = "" if tokens.completion is None else f" completion={tokens.completion}"
    return prompt + completion + ("" if tokens.cached is None else f" cached={tokens.cached}")


def _remarks(outcome: Outcome) -> str:
    """What is out of the ordinary, empty for most requests."""
    remarks = [f" failed={each.endpoint}:{each.reason!r}" for each in outcome.attempts if each.reason]
    if outcome.error_code:
        remarks.append(f" error={outcome.error_code}")
    if outcome.client_left:
        remarks.append(" client left")
    return "".join(remarks)
