"""Beat goes on when the clock of its host is set back."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.signals import before_task_publish

from ollaproject import celery
from ollaproject.steady_beat import SteadyInterval, SteadyScheduler

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_SECONDS = 20


def test_tasks_that_were_last_sent_an_hour_from_now_are_sent_at_their_intervals(tmp_path: Path) -> None:
    app = Celery("steady", broker="memory://", set_as_current=False)
    intervals = {"often": 0.1, "seldom": 0.5}
    app.conf.beat_schedule = {
        name: {"task": name, "schedule": SteadyInterval(seconds)} for name, seconds in intervals.items()
    }
    scheduler = SteadyScheduler(app=app, schedule_filename=str(tmp_path / "beat"))
    for entry in scheduler.schedule.values():
        entry.last_run_at = app.now() + timedelta(hours=1)
    sent: list[str] = []

    def note(sender: str, **_: Any) -> None:
        sent.append(sender)

    before_task_publish.connect(note)
    deadline = time.monotonic() + DEADLINE_SECONDS
    try:
        while sent.count("seldom") < 3:
            assert time.monotonic() < deadline, sent
            time.sleep(max(min(scheduler.tick(), 0.1), 0))
    finally:
        before_task_publish.disconnect(note)
        scheduler.close()
    assert sent.count("often") > 2 * sent.count("seldom")


def test_it_is_what_beat_runs() -> None:
    assert celery.app.conf.beat_scheduler == "ollaproject.steady_beat.SteadyScheduler"
    entries = celery.app.conf.beat_schedule.values()
    assert all(isinstance(entry["schedule"], SteadyInterval) for entry in entries)
