"""The fleet, as a Django app: its signals are connected when it is ready."""

from __future__ import annotations

from django.apps import AppConfig


class EndpointsConfig(AppConfig):
    name = "endpoints"
    verbose_name = "Fleet"

    def ready(self) -> None:
        from endpoints import signals  # noqa: F401, PLC0415
