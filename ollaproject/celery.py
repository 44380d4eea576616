"""The Celery app. Every beat entry expires just below its period, so that no backlog builds up."""

from __future__ import annotations

import os
import warnings

from celery import Celery, platforms
from celery.signals import beat_init, worker_init

from ollaproject import open_files
from ollaproject.parent import end_with_parent
from ollaproject.steady_beat import SteadyInterval

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")

# Celery warns of root because of pickle. Nothing here is pickled: the broker carries JSON only.
warnings.filterwarnings("ignore", category=platforms.SecurityWarning)  # type: ignore[attr-defined]

app = Celery("ollaproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# A broker may be away for longer than Celery's hundred attempts.
app.conf.broker_connection_max_retries = None
# No task here is acknowledged late; said only lest Celery warns of it at each loss.
app.conf.worker_cancel_long_running_tasks_on_connection_loss = True


def every(seconds: float, task: str) -> dict[str, object]:
    return {"task": task, "schedule": SteadyInterval(seconds), "options": {"expires": seconds * 0.95}}


@worker_init.connect(weak=False)
@beat_init.connect(weak=False)
def _end_with_serve(**_kwargs: object) -> None:
    end_with_parent()


@worker_init.connect(weak=False)
def _check_many_endpoints_at_once(**_kwargs: object) -> None:
    open_files.allow_many()


app.conf.beat_scheduler = "ollaproject.steady_beat.SteadyScheduler"
app.conf.beat_schedule = {
    "check-due-endpoints": every(1, "endpoints.check_due"),
    "send-alerts": every(5, "endpoints.send_alerts"),
    "roll-up-check-history": every(60, "endpoints.roll_up_history"),
    "prune-check-history": every(3600, "endpoints.prune_history"),
    "prune-requests": every(3600, "proxy.prune_requests"),
    "prune-sessions": every(3600, "proxy.prune_sessions"),
}
