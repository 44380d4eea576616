"""Celery's beat, whatever is done to the clock of the host.

Celery reckons by the clock: once that has been set back by an hour, it sends nothing for an hour, and no
endpoint is checked. Here the monotonic clock says what comes next, and a task that was last sent at a time to
come is due.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery.beat import PersistentScheduler
from celery.schedules import schedule

if TYPE_CHECKING:
    from datetime import datetime


class SteadyScheduler(PersistentScheduler):
    def _when(self, entry: Any, next_time_to_run: Any, mktime: Any = None) -> float:  # noqa: ARG002
        return time.monotonic() + float(self.adjust(next_time_to_run) or 0)


class SteadyInterval(schedule):
    """So many seconds."""

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        left: timedelta = super().remaining_estimate(last_run_at)
        return left if left <= self.run_every else timedelta(0)  # type: ignore[attr-defined]
