"""The ASGI application of the model process. It has no Django views, no middleware and no database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from channels.routing import ProtocolTypeRouter, URLRouter

from inference.http.routes import url_patterns
from ollaproject.wire.cors import AllowingOrigins, Cors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.http.boundary import Serving
    from ollaproject.wire.asgi import Application


def make_application(serving: Serving, allowed_origins: Sequence[str] = ()) -> Application:
    """`allowed_origins`: whose pages may call the model from a browser."""
    http: Application = URLRouter(url_patterns(serving))
    if allowed_origins:
        http = AllowingOrigins(http, Cors(allowed_origins, setting="--allowed-origins"))
    application: Application = ProtocolTypeRouter({"http": http})
    return application
