"""What `manage.py serve` runs: the web process, Celery's worker and beat, this machine's model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import CommandError

from endpoints import operations
from ollaproject.processes import Program

if TYPE_CHECKING:
    import socket

    from endpoints.models import Endpoint

DEMO = "demo"
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

# The web process stops first, while the model can still finish what is streaming.
WEB_STOPS, THE_REST_STOPS = 1, 2


@dataclass(frozen=True, slots=True)
class LocalModel:
    """The model that this machine serves itself: an ordinary endpoint over loopback HTTP."""

    chat: str
    embedding: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> Endpoint:
        """Fetch the demo models if they are wanted and missing, and register the endpoint."""
        if DEMO in (self.chat, self.embedding):
            fetched = subprocess.run([*MANAGE, "fetch_demo_models"], stdout=subprocess.DEVNULL, check=False)  # noqa: S603
            if fetched.returncode != 0:
                raise CommandError("The demo models could not be fetched; the reason is above.")
        return operations.register_local(url=self.url)

    def program(self) -> Program:
        embedding = ("--embedding-model", self.embedding) if self.embedding else ()
        command = (*MANAGE, "serve_model", self.chat, "--port", str(self.port), *embedding)
        # Nobody but the gateway reaches it, over loopback: a key that is meant for other servers stays out.
        no_key = dict.fromkeys(("OLLA_MODEL_API_KEY", "OLLA_MODEL_API_KEY_FILE"), "")
        return Program("model", command, THE_REST_STOPS, environment=no_key)


def programs(listener: socket.socket, model: LocalModel | None) -> list[Program]:
    web = (sys.executable, "-m", "ollaproject.web", "--fd", str(listener.fileno()))
    worker = (*CELERY, "worker", "--pool", "threads", "--concurrency", str(WORKER_THREADS), *WORKER_OPTIONS)
    beat = (*CELERY, "beat", "--schedule", str(settings.OLLA_HOME / "beat-schedule"), "--pidfile", "")
    found = [
        Program("web", web, WEB_STOPS, inherited_fds=(listener.fileno(),)),
        Program("worker", worker, THE_REST_STOPS),
        Program("beat", beat, THE_REST_STOPS),
    ]
    return [*found, model.program()] if model else found


# One worker needs none of the chatter by which a crowd of workers finds each other.
WORKER_OPTIONS = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")
