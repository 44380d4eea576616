from __future__ import annotations

from django.apps import AppConfig


class OllaprojectConfig(AppConfig):
    name = "ollaproject"
    verbose_name = "ollaproject"

    def ready(self) -> None:
        from ollaproject import checks  # noqa: F401, PLC0415
