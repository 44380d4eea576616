from __future__ import annotations

from django.apps import AppConfig


class OllaprojectConfig(AppConfig):
    name = "ollaproject"
    verbose_name = "ollaproject"

    def ready(self) -> None:
        # The Celery app too: a process that does not load it sends its tasks to Celery's default broker.
        from ollaproject import celery, checks  # noqa: F401, PLC0415
