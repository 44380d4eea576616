"""One request and its answer over a client's connection: what ASGI calls `receive` and `send`.

uvicorn's own costs 8 µs more per request (36 instead of 28 with a fixed answer): events, locks, a check of
each header by itself, a write for the head and one for the body.
"""

from __future__ import annotations

import asyncio
import logging
import re
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING

from ollaproject.wire.asgi import HEADER_LINES, WHOLE_BODY
from ollaproject.wire.header_lines import STREAM, joined
from ollaproject.wire.status_lines import STATUS_LINES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ollaproject.client_connection import ClientConnection
    from ollaproject.wire.asgi import Leaving, Message, Receive, Scope, Send

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

BODILESS_STATUSES = frozenset({204, 304})
# A smaller body is copied behind the head, so that both go out in one piece.
MAX_JOINED_BYTES = 64 * 1024
LENGTH_NAME = b"\r\ncontent-length: "
CONNECTION = b"\r\nconnection: "
CLOSE = re.compile(CONNECTION + rb"[^\r]*close")


class Framing(Enum):
    """How a client knows where an answer's body ends."""

    NONE = "there is none, whatever the head says"
    LENGTH = "after as many bytes as the head says"
    CHUNKS = "after the last chunk"
    CLOSE = "with the connection"


NO_BODY, LENGTH, CHUNKS, TO_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKS, Framing.CLOSE


class Exchange:
    """Made by its connection, which tells it what arrives. `more_body`: the request is not whole yet."""

    __slots__ = (
        "_asked_to_continue",
        "_connection",
        "_framing",
        "_has_news",
        "_heard",
        "_on_client_left",
        "_pieces",
        "_remaining",
        "_start",
        "_waiter",
        "complete",
        "gone",
        "keep_alive",
        "more_body",
        "scope",
        "task",
        "waiting_bytes",
    )

    def __init__(self, connection: ClientConnection, scope: Scope, *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
        self.more_body = True
        self.waiting_bytes = 0
        self.complete = False  # the answer has been written
        self.gone = False  # the client has left before that
        self._connection = connection
        self._pieces: list[bytes] = []
        self._has_news = False  # for `receive`
        self._heard = True  # something has come since `is_stalled` was asked last
        self._waiter: asyncio.Future[None] | None = None
        self._on_client_left: Leaving | None = None
        self._start: Message | None = None  # kept until there is something of the body
        self._framing: Framing | None = None  # None: nothing has been written
        self._remaining = 0
        self._asked_to_continue = False

    # --- What the connection tells ---

    def received(self, body: bytes) -> None:
        if not self.complete:
            self._pieces.append(body)
            self.waiting_bytes += len(body)
            self._heard = True
            self._tell()

    def received_all(self) -> None:
        self.more_body = False
        self._tell()

    def received_whole(self, body: bytes) -> None:
        """All of it has come with its head."""
        self._pieces.append(body)
        self.more_body = False
        self._has_news = True

    def client_left(self) -> None:
        if self.complete:
            return
        self.gone = True
        self._tell()
        callback, self._on_client_left = self._on_client_left, None
        if callback is not None and self.task is not None:
            callback(self.task)

    def on_client_left(self, callback: Leaving) -> None:
        """What is to be called, once, when the client leaves before its answer is whole."""
        if self.gone and self.task is not None:
            callback(self.task)
        else:
            self._on_client_left = callback

    def _tell(self) -> None:
        self._has_news = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    @property
    def begun(self) -> bool:
        """Whether anything of the answer has been written."""
        return self._framing is not None

    def is_stalled(self) -> bool:
        """Whether nothing more of the request has come since this was asked last, and it is waited for."""
        heard, self._heard = self._heard, False
        return self.more_body and not heard and self._waiter is not None and not self._waiter.done()

    # --- The application ---

    async def run(self, application: Application) -> None:
        """Let the application answer. What it leaves unfinished is cut, so that the client can see it."""
        try:
            await application(self.scope, self.receive, self.send)
            if not self.complete and not self.gone:
                await self._leave()
        except asyncio.CancelledError:
            await self._leave()  # the server stops
        except Exception:
            logger.exception("The application failed.")
            await self._leave()
        finally:
            self._on_client_left = None
            self._connection.returned(self)

    async def _leave(self) -> None:
        """The application has returned too early."""
        if self._framing is not None:
            self._connection.close()
            return
        self._start = {
            "status": HTTPStatus.INTERNAL_SERVER_ERROR,
            "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")],
        }
        await self.send({"type": "http.response.body", "body": b"Internal Server Error"})

    async def receive(self) -> Message:
        """ASGI's `receive`."""
        if self.more_body and not self._asked_to_continue:
            self._ask_to_continue()
        while not self._has_news and not self.gone and not self.complete:
            self._connection.read_on()
            self._waiter = self._connection.loop.create_future()
            await self._waiter
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        self._has_news = False
        return {"type": "http.request", "body": self._taken(), "more_body": self.more_body}

    def take_body(self) -> bytes | None:
        """All of the request's body, in place of `receive`; None when not all of it is there."""
        if self.more_body or not self._has_news or self.gone:
            return None
        self._has_news = False
        return self._taken()

    def _taken(self) -> bytes:
        pieces, self._pieces, self.waiting_bytes = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _ask_to_continue(self) -> None:
        """The client may wait for our word before it sends the body (RFC 9110, 10.1.1)."""
        self._asked_to_continue = True
        waits = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in self.scope["headers"]
        )
        if waits and not self._pieces and self._framing is None and not self.gone:
            self._connection.outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def send(self, message: Message) -> None:
        """ASGI's `send`. Waits while the client's connection takes no more."""
        flow = self._connection.flow
        if flow.write_paused and not self.gone:
            await flow.drain()
        if self.gone:
            return
        if message["type"] == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif message["type"] == "http.response.start" and self._start is None and self._framing is None:
            self._start = message
            if WHOLE_BODY in message:
                self._send_body(message[WHOLE_BODY], more=False)
        else:
            raise RuntimeError(f"{message['type']} does not belong here.")

    def _send_body(self, body: bytes, *, more: bool) -> None:
        head = b""
        if self._start is not None:
            head = self._head(self._start, None if more else len(body))
            self._start = None
        elif self._framing is None or self.complete:
            raise RuntimeError("This piece of a body does not belong here.")
        body = self._framed(body, more=more)
        write = self._connection.outlet.write
        if head and len(body) > MAX_JOINED_BYTES:
            write(head)
            write(body)
        elif head or body:
            write(head + body)
        if not more:
            self.complete = True
            if self._waiter is not None:
                self._tell()
            self._connection.answered(self)

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        """A piece of the body as it goes over the wire."""
        framing = self._framing
        if framing is LENGTH:
            self._remaining -= len(body)
            if self._remaining < 0 or (self._remaining and not more):
                raise RuntimeError("The body is not as long as its Content-Length.")
        elif framing is CHUNKS:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        elif framing is NO_BODY:
            return b""
        return body

    def _head(self, start: Message, length: int | None) -> bytes:
        """Status line and headers. `length` is that of the body when all of it is there.

        A stream has no length, also when it is there as a whole (contract, section 4): what it looks like
        does not depend on how fast an endpoint was.
        Raises ValueError for a header that would break out of its line.
        """
        status = start["status"]
        lines = [STATUS_LINES[status], *map(b": ".join, self._connection.server_state.default_headers)]
        lines += map(b": ".join, start.get("headers", ()))
        head = joined(lines)
        said = head.lower()  # Django's pages have Names-Like-This
        if CONNECTION in said and CLOSE.search(said):
            self.keep_alive = False
        elif not self.keep_alive:
            head += CONNECTION + b"close"
        is_stream = STREAM in said
        for shared in start.get(HEADER_LINES, ()):
            head += shared.text
            is_stream = is_stream or shared.is_stream
        framing = self._choose_framing(status, said, None if is_stream else length)
        return head + framing + b"\r\n\r\n"

    def _choose_framing(self, status: int, said: bytes, length: int | None) -> bytes:
        """Gives the header line that tells the client of it, empty when none is needed.

        `said` are the answer's own lines, in lower case; `length` is None when it is not to be told.
        """
        if self.scope["method"] == "HEAD" or status in BODILESS_STATUSES:
            self._framing = NO_BODY
        elif (place := said.find(LENGTH_NAME)) >= 0:
            value = said[place + len(LENGTH_NAME) :].partition(b"\r\n")[0]
            self._framing, self._remaining = LENGTH, int(value)
        elif length is not None:
            self._framing, self._remaining = LENGTH, length
            return LENGTH_NAME + b"%d" % length
        elif self.scope["http_version"] == "1.0":
            self._framing = TO_CLOSE
        else:
            self._framing = CHUNKS
            return b"\r\ntransfer-encoding: chunked"
        return b""
