"""A client's connection: uvicorn's HTTP/1.1 protocol, but for what it does per request (see exchange.py).

It refuses absurd headers, in JSON; bounds what a client may send ahead; lets an early answer arrive although
the request is still on its way; keeps one timer per connection, where uvicorn sets one per request; and does
not parse a head again that it knows (known_heads.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ollaproject.exchange import Exchange
from ollaproject.idle import Idling
from ollaproject.known_heads import KnownHeads
from ollaproject.no_request import MAX_HEAD_BYTES, MAX_HEADERS, HeadTooLargeError, refusal_of
from ollaproject.request_scope import refuse_tunnel, scope_of
from ollaproject.slow_reader import SlowReader
from ollaproject.wire.asgi import CLIENT_LEFT, FULL_START, SAME_HEAD, TAKE_BODY
from ollaproject.wire.declined_upgrade import asks_for_another, plain_head
from ollaproject.wire.lingering import close_lingering
from ollaproject.wire.outlet import Outlet, Turn
from ollaproject.wire.request_target import in_origin_form

if TYPE_CHECKING:
    import asyncio

    from uvicorn._types import HTTPScope

    from ollaproject.known_heads import KnownHead
    from ollaproject.wire.asgi import Leaving
    from ollaproject.wire.heads import Known

# So much of a body waits for the application before we stop reading.
MAX_WAITING_BODY_BYTES = 64 * 1024
# So many requests may be sent before the first is answered. While we read, we see a client leave.
MAX_PIPELINED = 16


class ClientConnection(Idling, HttpToolsProtocol):
    """One connection, whose requests are answered one after another."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.turn = Turn.of(self.loop)
        self.outlet: Outlet
        self.reader: SlowReader
        self.running: Exchange | None = None
        self._latest: Exchange | None = None  # the one whose body may still be on its way
        self._sent_ahead: deque[Exchange] = deque()
        self._head_bytes = 0
        self._known_heads = KnownHeads.of(self.config)
        self._usual_head: Known[KnownHead] | None = None
        self._between = True  # two requests: what comes next begins one
        self._deaf = False  # whatever still comes is dropped
        self._refusal = b""

    def _on_client_left(self, callback: Leaving) -> None:
        if self.running is not None:
            self.running.on_client_left(callback)

    def _take_body(self) -> bytes | None:
        return None if self.running is None else self.running.take_body()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.outlet = Outlet(self.turn, transport)
        self.reader = SlowReader(transport, self.loop, self.timeout_keep_alive)
        self._rest()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if not self._between:
            self._parse(data)
        elif found := self._known_heads.find(data, self._usual_head):
            self._usual_head, digits, body = found
            head = self._usual_head.what
            self._latest = Exchange(self, self._told(head.scope(digits), head.found_out), keep_alive=True)
            self._latest.received_whole(body)
            self._begin(self._latest)
        else:
            before = self._latest
            self._parse(data)
            # Line ends between two requests are none of them.
            if self._between and self._latest is not None and self._latest is not before:
                self._known_heads.learn(data, self._latest.scope)
        if self.running is not None:
            self.turn.woke()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            if self._should_upgrade():
                self._stop_timer()
                self.outlet.flush()
                self.handle_websocket_upgrade()
                self._let_go()
            elif self._latest is None:
                head = plain_head(self.scope["method"], self.url, self.scope["http_version"], self.headers)
                self._parse(head + data[stopped.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(refusal_of(error))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self.connections.discard(self)
        self._stop_timer()
        if self.running is not None:
            self.running.client_left()
        self._sent_ahead.clear()
        self.resume_writing()
        self._let_go()

    def _let_go(self) -> None:
        """Of all that refers to us. A cycle waits for the garbage collector, and that may be hours."""
        self.parser = None  # type: ignore[assignment] # as the parent does
        self.scope = None  # type: ignore[assignment] # holds the extensions
        self._latest = None

    def shutdown(self) -> None:
        """Called by the server when it stops: what runs is finished, nothing new is taken."""
        if self.running is None or self._latest is None:
            self.close()
        else:
            self._latest.keep_alive = False

    def pause_writing(self) -> None:
        super().pause_writing()
        self.reader.falls_behind()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.reader.catches_up()

    # --- httptools: what the parser has found ---

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._head_bytes = 0
        self._latest = None
        self._between = False

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._latest is not None:
            return  # a trailer: as a header it would mean something else (RFC 9110, 6.5.1)
        name = name.lower()
        self._count(len(name) + len(value))
        self.headers.append((name, value))

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            raise HeadTooLargeError

    def on_headers_complete(self) -> None:
        parser = self.parser
        refuse_tunnel(parser)
        self.url, self.headers = in_origin_form(self.url, self.headers)
        scope = scope_of(parser, self.url, self.headers, scheme=self.scheme, root_path=self.root_path)
        self._told(scope, {})
        self.scope = cast("HTTPScope", scope)
        if parser.should_upgrade() and asks_for_another(self.headers):
            return  # the parser stops behind this head
        keep_alive = scope["http_version"] != "1.0" and parser.should_keep_alive()
        self._latest = Exchange(self, scope, keep_alive=keep_alive)
        self._begin(self._latest)

    def _told(self, scope: dict[str, Any], found_out: dict[Any, Any]) -> dict[str, Any]:
        """A scope, with what this connection has to say."""
        scope["server"] = self.server
        scope["client"] = self.client
        scope["extensions"] = {
            CLIENT_LEFT: self._on_client_left,
            TAKE_BODY: self._take_body,
            SAME_HEAD: found_out,
            FULL_START: True,
        }
        return scope

    def _begin(self, exchange: Exchange) -> None:
        """Have a request answered, in its turn."""
        if self.running is None:
            self._start(exchange)
            return
        self._sent_ahead.append(exchange)
        if len(self._sent_ahead) >= MAX_PIPELINED:
            self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        if self._latest is not None:
            self._latest.received(body)
            if self._latest.waiting_bytes > MAX_WAITING_BODY_BYTES:
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._latest is not None:
            self._latest.received_all()
            self._between = self._latest.keep_alive
            self.read_on()  # while we read, we see the client leave

    # --- One request after another ---

    def _start(self, exchange: Exchange) -> None:
        self.running = exchange
        if exchange.more_body:
            self._watch_client()
        task = self.loop.create_task(exchange.run(self.app))
        exchange.task = task
        self.tasks.add(task)

    def read_on(self) -> None:
        """Nothing speaks against reading: an application waits for more, or has all of its request."""
        if len(self._sent_ahead) < MAX_PIPELINED:
            self.flow.resume_reading()

    def returned(self, exchange: Exchange) -> None:
        """An application is done. When its answer is not complete, nothing more will come of it."""
        self.tasks.discard(cast("asyncio.Task[None]", exchange.task))
        if self.running is exchange:
            self.running = None

    def answered(self, exchange: Exchange) -> None:
        """An answer is complete: the next request's turn."""
        self.server_state.total_requests += 1
        self.running = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            self._close(linger=exchange.more_body)
            return
        self.flow.resume_reading()
        if self._sent_ahead:
            self._start(self._sent_ahead.popleft())
        elif self._refusal:
            self._refuse(self._refusal)
        else:
            self._rest()

    def _refuse(self, answer: bytes) -> None:
        """Answer what is no request, after the answers to those that were, and close."""
        self._deaf = True
        broken = self._latest if self._latest is not None and self._latest.more_body else None
        if self._sent_ahead and broken is self._sent_ahead[-1]:
            self._sent_ahead.pop()
        if self.running is not None and self.running is not broken:
            self._refusal = answer
            return
        if broken is None or not broken.begun:
            self.outlet.write(answer)
        self._close(linger=True)

    def close(self) -> None:
        """Close when all that was written has gone out."""
        self.outlet.flush()
        self.transport.close()

    def _close(self, *, linger: bool) -> None:
        if not linger or not self.transport.can_write_eof():
            self.close()
            return
        self._deaf = True
        self.flow.resume_reading()
        self.outlet.flush()
        self._stop_timer()
        self._idle_timer = close_lingering(self.transport, self.loop)
