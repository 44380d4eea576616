from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class GatewayConfig(AppConfig):
    name = "proxy"
    verbose_name = _("Gateway")

    def ready(self) -> None:
        # Apps load first.
        from endpoints.pages import first_steps  # noqa: PLC0415
        from endpoints.routing import watch  # noqa: PLC0415
        from proxy import signals  # noqa: PLC0415
        from proxy.access import key_table  # noqa: PLC0415
        from proxy.pages import first_request  # noqa: PLC0415

        signals.connect()
        watch.rebuild_with_access(key_table.rebuild)
        first_steps.add(first_request.STEP)
