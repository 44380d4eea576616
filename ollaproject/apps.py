from __future__ import annotations

from django.apps import AppConfig


class OllaprojectConfig(AppConfig):
    name = "ollaproject"
    verbose_name = "ollaproject"

    def ready(self) -> None:
        # The Celery app too: a process that does not load it sends its tasks to Celery's default broker.
        from inference.local.record import changed  # noqa: PLC0415
        from ollaproject import celery, checks  # noqa: F401, PLC0415
        from ollaproject.local_fleet import show_change  # noqa: PLC0415

        changed.connect(show_change, dispatch_uid="local_models.changed")
