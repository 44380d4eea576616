"""The Celery app. Every beat entry expires just below its period, so that a stopped worker leaves no backlog."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")

app = Celery("ollaproject")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def every(seconds: float, task: str) -> dict[str, object]:
    return {"task": task, "schedule": seconds, "options": {"expires": seconds * 0.95}}


app.conf.beat_schedule = {
    "check-due-endpoints": every(1, "endpoints.check_due"),
    "prune-check-history": every(3600, "endpoints.prune_history"),
}
