"""The ASGI application of the model process. It has no Django views, no middleware and no database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from channels.routing import ProtocolTypeRouter, URLRouter

from inference.routes import url_patterns

if TYPE_CHECKING:
    from inference.boundary import Serving


def make_application(serving: Serving) -> Any:
    return ProtocolTypeRouter({"http": URLRouter(url_patterns(serving))})
