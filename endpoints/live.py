"""The live channel of open pages: it says that something changed, and the page then fetches what it shows.

It carries no data but the number of endpoints that are down, shown in the title of a tab in the background,
and the figures that the composition root hands in.
Whether its reader may still look is asked again before every message.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError
from django.http import HttpRequest
from django.urls import path

from endpoints import watch
from endpoints.overview import needs_attention
from endpoints.snapshot import snapshot
from ollaproject.wire.roles import sees_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.urls import URLPattern

    from endpoints.watch import Change

    Figures = Callable[[], Mapping[str, Any]]

logger = logging.getLogger(__name__)

SHORTEST_PAUSE_SECONDS = 0.5
# A page that has heard nothing for three of these says that it is stale.
HEARTBEAT_SECONDS = 2.0
SIGNED_OUT = 4401
CALM = b"calm"


async def may_watch(session_key: str | None) -> bool:
    return bool(await database_sync_to_async(session_stands)(session_key))


async def seen_by(session_key: str | None, figures: Figures | None) -> dict[str, Any] | None:
    """What goes beside a message, None for whoever may not watch any more. One hop to a thread."""
    found: dict[str, Any] | None = await database_sync_to_async(_seen_by)(session_key, figures)
    return found


def _seen_by(session_key: str | None, figures: Figures | None) -> dict[str, Any] | None:
    if not session_stands(session_key):
        return None
    return {} if figures is None else {"figures": figures()}


def session_stands(session_key: str | None) -> bool:
    """Whether the session still stands and its user may still see the fleet, read anew: sockets live long."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return sees_fleet(get_user(request))


class FleetConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One open page. The watcher of this process wakes it, so it needs no channel layer."""

    channel_layer_alias = None

    def __init__(self, *args: Any, figures: Figures | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._figures = figures
        self._changed = asyncio.Event()
        self._urgent = asyncio.Event()
        self._routing = 0
        self._unsubscribe: Callable[[], None] | None = None
        self._pusher: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        # Closing an accepted socket is the only way to let the page see the code.
        await self.accept()
        session_key = self.scope["session"].session_key
        if not await may_watch(session_key):
            await self.close(SIGNED_OUT)
            return
        loop = asyncio.get_running_loop()

        def wake(change: Change) -> None:
            # Called in the watcher's thread. A loop that is gone needs no waking.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._hear, change.routing)

        watch.start()
        self._unsubscribe = watch.subscribe(wake)
        self._pusher = asyncio.create_task(self._push(session_key))

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the name is Channels'
        if self._unsubscribe:
            self._unsubscribe()
        if self._pusher:
            self._pusher.cancel()

    async def _push(self, session_key: str | None) -> None:
        """Send a message at every change, at most one per half second, and a heartbeat in between."""
        outage = False
        told = self._routing
        while True:
            changed = await self._wait_for_change()
            try:
                routing = self._routing
                figures = await seen_by(session_key, self._figures)
                if figures is None:
                    await self.close(SIGNED_OUT)
                    return
                message = {
                    "changed": changed or outage,
                    "routing": outage or routing != told,
                    "down": count_down(),
                }
                await self.send(json.dumps(message | figures))
                told = routing
                outage = False
            except DatabaseError as error:
                # Without a heartbeat the page says by itself that it is stale.
                if not outage:
                    logger.warning("Open pages are not updated while the database does not answer: %s", error)
                outage = True
            except OSError:
                return  # the page has gone; `disconnect` follows
            await asyncio.sleep(SHORTEST_PAUSE_SECONDS)

    def _hear(self, routing: int) -> None:
        if routing != self._routing:
            self._routing = routing
            self._urgent.set()
        self._changed.set()

    async def _wait_for_change(self) -> bool:
        """Whether anything changed. A calm page is woken by statuses, not by each check of a large fleet."""
        calm = self.scope["query_string"] == CALM
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await (self._urgent if calm else self._changed).wait()
        changed = self._changed.is_set()
        self._changed.clear()
        self._urgent.clear()
        return changed


def count_down() -> int:
    """How many endpoints ought to serve and do not, from the routing table in memory."""
    return sum(needs_attention(target.mode, target.status) for target in snapshot().targets)


def routes(figures: Figures | None = None) -> list[URLPattern]:
    """The URL patterns of the channel. `figures` gives what is shown of how busy the gateway is, as JSON."""
    return [path("ws/fleet/", FleetConsumer.as_asgi(figures=figures))]
