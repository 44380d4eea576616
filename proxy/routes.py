"""The URLs of the door. What they mean below `/olla/` and `/v1/` is in paths.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import re_path

from ollaproject.wire.cors import AllowingOrigins
from proxy.consumers import ApiConsumer
from proxy.gateway import Gateway
from proxy.pages.playground_api import PlaygroundConsumer
from proxy.status.operator import OperatorConsumer

if TYPE_CHECKING:
    from django.urls import URLPattern

    from ollaproject.wire import asgi

# The hot prefixes, which `ollaproject.asgi` looks for by itself: URLRouter takes 2 µs for each request.
API_PREFIXES = ("/v1/", "/olla/")


# Any: django-stubs types re_path for views, and Channels routes to ASGI applications by it.
def api_of(gateway: Gateway) -> Any:
    """One consumer for all requests: what belongs to a request is in its Call."""
    return _for_pages(gateway, ApiConsumer(gateway=gateway))


def routes(gateway: Gateway) -> list[URLPattern]:
    """The URL patterns of one gateway, for Channels' URLRouter."""
    return [
        re_path(r"^(?:olla|v1)(?:/|$)", api_of(gateway)),
        re_path(r"^playground/api/", PlaygroundConsumer.as_asgi(gateway=gateway)),
        re_path(
            r"^(?:internal(?:/|$)|(?:version|livez|readyz|health|metrics)/?$)",
            _for_pages(gateway, OperatorConsumer.as_asgi(gateway=gateway)),
        ),
    ]


def _for_pages(gateway: Gateway, application: asgi.Application) -> Any:
    """`application`, for pages of other origins too where some are named."""
    cors = gateway.guard.cors
    return AllowingOrigins(application, cors) if cors else application


gateway = Gateway.from_settings()
api = api_of(gateway)
http_urlpatterns = routes(gateway)
