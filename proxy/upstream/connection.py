"""One HTTP/1.1 connection to an upstream, an asyncio.Protocol: one request at a time.

Bytes are buffered up to a bound, then reading pauses. One timer per connection watches over every wait: for
the request to go out, for the first byte, between chunks, and for how long the connection may lie idle.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, NamedTuple, cast

from ollaproject.wire.outlet import Outlet, Turn
from proxy.request.bodies import PIECE_BYTES, pieces_of
from proxy.upstream.answer_reader import AnswerReader
from proxy.upstream.wire_errors import ClosedError, StalledError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ollaproject.wire.heads import Memory
    from proxy.request.bodies import Body
    from proxy.upstream.answer_head import AnswerHead
    from proxy.upstream.wire_errors import WireError

# The event loop's clock counts in milliseconds: a timer may fire this much before its time.
TIMER_GRAIN_SECONDS = 0.001


class Timeouts(NamedTuple):
    """Seconds. `first_byte` runs from the request's end to the answer's head, `idle` between two chunks."""

    connect: float
    write: float
    first_byte: float
    idle: float


class Connection(AnswerReader, asyncio.Protocol):
    """A connection that carries one exchange after another.

    `exchange` sends a request and returns when the answer's head is there; `read` gives the body piece by
    piece; `reusable` then says whether another exchange may follow. `abort` ends everything at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_closed: Callable[[Connection], None],
        known: Memory[AnswerHead] | None = None,
    ) -> None:
        self._loop = loop
        self._on_closed = on_closed
        super().__init__(known)
        self._asked = False  # an exchange is under way
        self._turn = Turn.of(loop)
        self._transport: asyncio.Transport | None = None
        self._outlet: Outlet | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._deadline = math.inf
        self._patience_seconds = math.inf
        self._write_paused = False
        self._read_paused = False
        self._written = False
        self._fault: WireError | None = None
        self.closed = False

    # --- For the one who uses it ---

    async def exchange(
        self, head: bytes, body: Body, *, timeouts: Timeouts, expects_body: bool = True
    ) -> None:
        """Send a request, then wait until the `head` of its answer is there.

        `expects_body` is False for HEAD, whose answer announces a length and sends nothing. Raises WireError;
        after that, and when it is cancelled, the connection is closed.
        """
        if self.closed:
            raise ClosedError("closed the connection before the request was sent")
        self._clear(expects_body=expects_body)
        self._written, self._fault = False, None
        self._asked = True
        try:
            if isinstance(body, bytes) and len(body) <= PIECE_BYTES:
                cast("Outlet", self._outlet).write(head + body)
                self._written = True
            else:
                await self._write(head, body, timeouts.write)
            while not self._head_complete:
                self._raise_fault()
                await self._wait(timeouts.first_byte)
        except BaseException:
            self.abort()
            raise

    async def read(self, idle_seconds: float) -> bytes:
        """All that has arrived since the last call, waiting for some; b"" at the end. Raises WireError."""
        while not self._pieces and not self.complete:
            self._raise_fault()
            await self._wait(idle_seconds)
        return self.take()

    def take(self) -> bytes:
        """All that has arrived since the last call, without waiting."""
        pieces = self._pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._pieces = []
        self._buffered = 0
        if self._read_paused and not self.closed:
            self._read_paused = False
            cast("asyncio.Transport", self._transport).resume_reading()
        return data

    @property
    def reusable(self) -> bool:
        """Whether the exchange is over on both sides and another one may follow."""
        return (
            self.complete
            and self._keep_alive
            and self._written
            and not self.closed
            and not self._pieces
            and self._fault is None
        )

    def rest(self, seconds: float) -> None:
        """Lie idle for at most `seconds`. Any byte that comes meanwhile closes the connection."""
        self._parser = None
        self._asked = False
        self._arm(self._loop.time() + seconds)

    def abort(self) -> None:
        """Close at once, whatever is still to be sent or read."""
        if self._transport is not None:
            self._transport.abort()

    # --- Waiting ---

    async def _write(self, head: bytes, body: Body, seconds: float) -> None:
        transport = cast("asyncio.Transport", self._transport)
        transport.write(head)
        for piece in pieces_of(body):
            while self._write_paused and not self._head_complete and self._fault is None:
                await self._wait(seconds)
            if self._head_complete or self._fault is not None:
                return  # the upstream has answered, or gone, without reading the rest
            transport.write(piece)
        self._written = True

    async def _wait(self, seconds: float) -> None:
        """Until something happens. After `seconds` without it, that is StalledError."""
        self._patience_seconds = seconds
        self._arm(self._loop.time() + seconds)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._deadline = math.inf

    def _arm(self, deadline: float) -> None:
        # A deadline that moves back, as it does with every chunk, costs nothing: the timer is left alone,
        # fires too early, sees that, and sets itself again.
        self._deadline = deadline
        if self._timer_at <= deadline:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)
        self._timer_at = deadline

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        if self._loop.time() + TIMER_GRAIN_SECONDS >= self._deadline:
            self._fail(StalledError(f"sent nothing for {self._patience_seconds:g} s"))
        elif self._deadline < math.inf:
            self._arm(self._deadline)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _raise_fault(self) -> None:
        # A copy: an exception holds the frames that it has passed, and by them us, who would hold it.
        if (fault := self._fault) is not None:
            raise type(fault)(*fault.args)

    def _fail(self, fault: WireError) -> None:
        if self._fault is None:
            self._fault = fault
        self.abort()
        self._wake()

    def _pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            cast("asyncio.Transport", self._transport).pause_reading()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._outlet = Outlet(self._turn, self._transport)

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self.abort()
            return
        self._take(data)
        self._wake()
        self._turn.woke()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._parser = None  # they refer to us, and a cycle waits for the garbage collector
        if not self.complete:
            if error is None and self._ends_with_connection():
                self.complete = True
            elif self._fault is None:
                what = "reset" if error is not None else "closed"
                self._fault = ClosedError(f"{what} the connection before its answer was whole")
        self._wake()
        self._on_closed(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()
