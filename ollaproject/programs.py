"""What `manage.py serve` runs: the web processes, Celery's worker and beat, the supervisor of its models."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from django.conf import settings

from ollaproject.processes import Program

if TYPE_CHECKING:
    import socket

MANAGE = (sys.executable, str(settings.BASE_DIR / "manage.py"))
CELERY = (
    sys.executable,
    "-m",
    "celery",
    "--app",
    "ollaproject",
    "--quiet",
    "--workdir",
    str(settings.BASE_DIR),
)
WORKER_THREADS = 4
# `serve` has run Django's system checks. Each of the others would load all pages to repeat them.
CHECKED = {"CELERY_SKIP_CHECKS": "true"}

# The web process stops first, while the model can still finish what is streaming.
WEB_STOPS, THE_REST_STOPS = 1, 2


def programs(listener: socket.socket, *, web_processes: int = 1, with_models: bool) -> list[Program]:
    """Web processes accept from one socket: whoever is free takes the next connection."""
    web = (sys.executable, "-m", "ollaproject.web", "--fd", str(listener.fileno()))
    worker = (*CELERY, "worker", "--pool", "threads", "--concurrency", str(WORKER_THREADS), *WORKER_OPTIONS)
    beat = (*CELERY, "beat", "--schedule", str(settings.OLLA_HOME / "beat-schedule"), "--pidfile", "")
    found = [
        *(
            Program(name, web, WEB_STOPS, inherited_fds=(listener.fileno(),))
            for name in _names(web_processes)
        ),
        Program("worker", worker, THE_REST_STOPS, CHECKED),
        Program("beat", beat, THE_REST_STOPS, CHECKED),
    ]
    models = Program("models", (*MANAGE, "serve_models", "--skip-checks"), THE_REST_STOPS)
    return [*found, models] if with_models else found


def _names(web_processes: int) -> list[str]:
    """What they are called in the log."""
    if web_processes == 1:
        return ["web"]
    return [f"web-{number}" for number in range(1, web_processes + 1)]


# One worker needs none of the chatter by which a crowd of workers finds each other.
WORKER_OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
