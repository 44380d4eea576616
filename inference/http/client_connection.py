"""uvicorn's HTTP/1.1 protocol, with the bodies of requests that would rather go on in another protocol, and
with early answers that arrive although the request is still on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ollaproject.request_scope import refuse_tunnel
from ollaproject.wire.declined_upgrade import asks_for_another, plain_head
from ollaproject.wire.lingering import close_lingering

if TYPE_CHECKING:
    import asyncio


class ClientConnection(HttpToolsProtocol):
    """No other protocol is spoken here, and no tunnel opened."""

    is_lingering = False
    """Whether the last answer is out, and whatever still comes is dropped."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patient = _Patient(transport, self)
        self.transport = self._patient  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._patient.connection = None  # a cycle waits for the garbage collector

    def on_headers_complete(self) -> None:
        refuse_tunnel(self.parser)
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        if self.is_lingering:
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as stopped:
            if self._should_upgrade():
                scope = self.scope
                head = plain_head(scope["method"], self.url, scope["http_version"], self.headers)
                self.data_received(head + data[stopped.args[0] :])

    def _should_upgrade(self) -> bool:
        """Asked when a head is complete: such a request is not begun yet."""
        return asks_for_another(self.headers)

    @property
    def has_answered_early(self) -> bool:
        """Whether the latest answer is whole, and its request is not."""
        cycle = self.cycle
        return cycle is not None and cycle.response_complete and cycle.more_body

    def linger(self) -> None:
        """From now on nothing is said or heard any more."""
        self.is_lingering = True
        self.flow.resume_reading()


class _Patient:
    """A connection's transport, which does not close while an early answer might be lost."""

    def __init__(self, transport: asyncio.Transport, connection: ClientConnection) -> None:
        self._transport = transport
        self.connection: ClientConnection | None = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        connection = self.connection
        if self.is_closing() or connection is None or not connection.has_answered_early:
            self._transport.close()
        else:
            close_lingering(self._transport, connection.loop)
            connection.linger()

    def is_closing(self) -> bool:
        is_lingering = self.connection is not None and self.connection.is_lingering
        return is_lingering or self._transport.is_closing()
