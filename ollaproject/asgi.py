"""The ASGI application: the gateway's routes, the live channel, and Django for the pages.

The order matters: `URLRouter` raises on a path that it does not know, so Django, which answers 404,
comes last.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ollaproject.settings")
django_app = get_asgi_application()  # loads the apps: what follows may import models

# ruff: noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.urls import re_path

from endpoints.pages import live
from ollaproject.garbage import spare_what_is_loaded
from ollaproject.lifespan import lifespan
from proxy import websockets
from proxy.records import pulse
from proxy.routes import API_PREFIXES, api, http_urlpatterns

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Receive, Scope, Send

YOUNG_OBJECTS = 5_000
SWITCH_SECONDS = 0.0005

# django-stubs types re_path for views; Channels routes to ASGI applications by it.
_router = URLRouter([*http_urlpatterns, re_path(r"", django_app)])  # type: ignore[arg-type]


_live = live.routes(pulse.current)
_live_channel = AllowedHostsOriginValidator(SessionMiddlewareStack(URLRouter(_live)))


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    known = any(each.resolve(scope["path"].lstrip("/")) for each in _live)
    await (_live_channel if known else websockets.refuse)(scope, receive, send)


_by_protocol = ProtocolTypeRouter({"http": _router, "websocket": websocket, "lifespan": lifespan})


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """What servers are given. Requests for models take the shortest way: the routers take 4 µs for each."""
    is_hot = scope["type"] == "http" and scope["path"].startswith(API_PREFIXES)
    await (api if is_hot else _by_protocol)(scope, receive, send)


spare_what_is_loaded()
# A request leaves no cycles, only young objects that are soon gone by themselves. To look after each 700 of
# them, as Python does, takes 3 % of the CPU; to look at 20 000 that live on, as those of streams do, takes
# 10 ms at once. What pages leave in cycles is found every few ten thousand requests.
gc.set_threshold(YOUNG_OBJECTS, 80, 10)
# A thread that computes, such as one that draws a page or writes the history, lets the event loop have the
# interpreter after this time. After Python's 5 ms, chunks of streams would stand still for as long.
sys.setswitchinterval(SWITCH_SECONDS)
