"""The URLs of the door. What they mean below `/olla/` and `/v1/` is in paths.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.urls import re_path

from proxy.consumers import ApiConsumer
from proxy.gateway import Gateway
from proxy.operator import OperatorConsumer
from proxy.playground_api import PlaygroundConsumer

if TYPE_CHECKING:
    from django.urls import URLPattern

# The hot prefixes, which `ollaproject.asgi` looks for by itself: URLRouter takes 2 µs for each request.
API_PREFIXES = ("/v1/", "/olla/")


def routes(gateway: Gateway) -> list[URLPattern]:
    """The URL patterns of one gateway, for Channels' URLRouter."""
    return [
        re_path(r"^(?:olla|v1)(?:/|$)", ApiConsumer.as_asgi(gateway=gateway)),
        re_path(r"^playground/api/", PlaygroundConsumer.as_asgi(gateway=gateway)),
        re_path(
            r"^(?:internal(?:/|$)|(?:version|livez|readyz|health|metrics)/?$)",
            OperatorConsumer.as_asgi(gateway=gateway),
        ),
    ]


gateway = Gateway.from_settings()
api = ApiConsumer.as_asgi(gateway=gateway)
http_urlpatterns = routes(gateway)
