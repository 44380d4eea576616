from __future__ import annotations

import logging

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "proxy"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from endpoints import first_steps  # noqa: PLC0415 - apps load first
        from proxy import first_request  # noqa: PLC0415
        from proxy.relay import CutOnPurpose  # noqa: PLC0415

        first_steps.add(first_request.STEP)
        logging.getLogger("uvicorn.error").addFilter(CutOnPurpose())
