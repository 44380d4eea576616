"""Failures of a local model, written down: a sentence, the end of the log, and when it is tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from inference.local import lifecycle, logs, record, site
from inference.local.choices import State
from inference.local.record import NO_PROGRESS
from ollaproject.wire import clock
from ollaproject.wire.sizes import size

if TYPE_CHECKING:
    from pathlib import Path

    from inference.local.fleet import Fleet
    from inference.local.running import Ending
    from inference.models import LocalModelStatus

NOT_RENEWED = "The new server could not be loaded"
ROOM_RETRY_SECONDS = 15.0
FAILED = "its model has failed"  # why its endpoint is out of service


def fail(
    status: LocalModelStatus, fleet: Fleet, sentence: str, again: float | None, *, log: Path | None = None
) -> None:
    """`again`: after how many seconds it is tried by itself, None when a person has to do something."""
    failures, now = status.failures + 1, clock.now()
    if again is not None:
        again = max(again, lifecycle.pause_before_retry(min(failures, lifecycle.MAX_CRASHES)) or 0)
        sentence = f"{sentence} It is tried again in {again:.3g} s."
    elif status.endpoint_id is not None:
        fleet.close(status.endpoint_id, reason=FAILED)
    record.move(
        status,
        State.FAILED,
        sentence,
        since=now,
        failures=failures,
        retry_at=None if again is None else now + timedelta(seconds=again),
        log_tail=logs.tail(log or site.log_of(status.pk), lines=logs.KEPT_LINES),
        **NO_PROGRESS,
    )


def crashed(status: LocalModelStatus, fleet: Fleet, ending: Ending) -> None:
    """Its server ended although nobody asked it to."""
    if ending.code > 0 and status.state == State.LOADING:  # it has said why
        fail(status, fleet, last_words(status.pk), None)
        return
    ran = (clock.now() - status.started_at).total_seconds() if status.started_at else 0.0
    if lifecycle.is_steady(ran):
        record.note(status, failures=0)
    pause = lifecycle.pause_before_retry(status.failures + 1)
    times = "" if pause is not None else f", {status.failures + 1} times in a row"
    fail(status, fleet, f"{ending.words}{times}.", pause)


def lacks_memory(status: LocalModelStatus, fleet: Fleet, *, needed: int, free: int) -> None:
    """It does not fit, and nobody can make room for it. Whoever waits for it is told at once."""
    figures = f"needs {size(needed)} of memory, and {size(free)} are free"
    advice = "Unload another model, or give it a budget of its own."
    fail(status, fleet, f"It {figures}. {advice}", ROOM_RETRY_SECONDS)
    if status.endpoint_id is not None and status.retry_at is not None:
        fleet.keep_asleep(status.endpoint_id, reason=figures, until=status.retry_at)


def last_words(model_id: int) -> str:
    """What its server said last."""
    return logs.last_words(logs.tail(site.log_of(model_id), lines=logs.KEPT_LINES))
