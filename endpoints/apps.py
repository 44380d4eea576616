"""The fleet, as a Django app: its signals are connected when it is ready."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class EndpointsConfig(AppConfig):
    name = "endpoints"
    verbose_name = _("Fleet")

    def ready(self) -> None:
        from endpoints import signals  # noqa: F401, PLC0415
