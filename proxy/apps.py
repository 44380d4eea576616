from __future__ import annotations

import logging

from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "proxy"
    verbose_name = "Gateway"

    def ready(self) -> None:
        from proxy.relay import CutOnPurpose  # noqa: PLC0415 - apps load first

        logging.getLogger("uvicorn.error").addFilter(CutOnPurpose())
