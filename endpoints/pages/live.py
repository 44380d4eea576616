"""The live channel of open pages: it says that something changed, and brings dashboards their fleet.

What is said comes from `live_hub`, which asks before every message whether its reader may still look.
A page says by its query what it is: `calm` ones are woken by statuses and not by each check of a large fleet;
those with `fleet` are sent the drawing, in the language `lang`, filtered as the page is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http import QueryDict
from django.urls import path

from endpoints.pages.filters import asked_for
from endpoints.pages.live_hub import Hub, Seat, View

if TYPE_CHECKING:
    from django.urls import URLPattern

    from endpoints.pages.live_hub import Figures

SIGNED_OUT = 4401


class FleetConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One open page. The hub of this process has its messages, so it needs no channel layer."""

    channel_layer_alias = None

    def __init__(self, *args: Any, hub: Hub, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hub = hub
        self._seat: Seat | None = None
        self._sender: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        # Closing an accepted socket is the only way to let the page see the code.
        await self.accept()
        self._seat = seat_of(self.scope["session"].session_key, QueryDict(self.scope["query_string"]))
        self._sender = asyncio.create_task(self._send(self._seat))
        self._hub.join(self._seat)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:  # noqa: ARG002
        if self._seat is not None and text_data in {"hidden", "shown"}:
            self._hub.look(self._seat, hidden=text_data == "hidden")

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the name is Channels'
        if self._seat:
            self._hub.leave(self._seat)
        if self._sender:
            self._sender.cancel()

    async def _send(self, seat: Seat) -> None:
        with suppress(OSError, RuntimeError):  # the page has gone, or is going; `disconnect` follows
            while not seat.dismissed:
                await seat.ready.wait()
                if isinstance(seat.frame, str):
                    await self.send(text_data=seat.frame)
                elif seat.frame is not None:
                    await self.send(bytes_data=seat.frame)
                seat.ready.clear()
            self._hub.leave(seat)
            await self.close(SIGNED_OUT)


def seat_of(session_key: str | None, query: QueryDict) -> Seat:
    language = query.get("lang", "")
    known = language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE
    view = View(asked_for(query), known) if "fleet" in query else None
    return Seat(session_key, calm="calm" in query, view=view)


def routes(figures: Figures | None = None) -> list[URLPattern]:
    """The URL patterns of the channel. `figures` gives what is shown of how busy the gateway is, as JSON."""
    return [path("ws/fleet/", FleetConsumer.as_asgi(hub=Hub(figures)))]
