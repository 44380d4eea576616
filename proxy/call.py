"""One call from a client: its request, the answer's common headers, and what is known of how it went.

Whatever leaves through `answer`, `respond`, `fail` or `begin` carries the headers of contract, section 4.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ollaproject.wire import asgi, clock, ids
from ollaproject.wire.asgi import BodyTooLarge
from ollaproject.wire.header_lines import HeaderLines
from proxy import errors
from proxy.answer import common_headers
from proxy.answer.capture import Capture
from proxy.answer.dialects import dialect_of
from proxy.records.record import Attempt, Outcome
from proxy.request import headers
from proxy.request.bodies import NoRoomError, data_of
from proxy.request.estimate import NONE, charged
from proxy.request.head import Head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from endpoints.routing.snapshot import Target
    from ollaproject.wire.asgi import Message, Receive, Scope, Send
    from ollaproject.wire.openai_errors import ApiError
    from proxy.access.auth import Caller
    from proxy.access.key_table import Holder
    from proxy.answer.usage import Tap
    from proxy.formats.translation import Translation
    from proxy.limits.limiter import Permit
    from proxy.limits.meters import Full
    from proxy.records.tracing import RequestTrace
    from proxy.request.bodies import Body, Spool
    from proxy.request.headers import Pair
    from proxy.request.paths import Surface
    from proxy.routing.sticky import Session


EVENTS = (b"content-type", headers.EVENT_STREAM)
NO_LINES = HeaderLines([])
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Call:
    """Lives as long as the request. Its attributes are filled as the rooms find things out.

    What is the same for each at first is set once, for the class.
    """

    caller: Caller | None = None
    model: str | None = None
    target: Target | None = None
    stream = False
    bytes_in = 0
    bytes_out = 0
    tap: Tap | None = None  # where tokens are counted
    tail = b""  # the last piece of the body that was passed on
    sends_events = False  # whether the answer that has begun is an event stream
    status = 0  # of our answer, 0 until it has begun
    ttft: float | None = None
    overhead: float | None = None  # seconds from its arrival to its first attempt, without the queue's
    error_code: str | None = None
    client_left = False
    routing: tuple[str, str, str] | None = None  # strategy, decision and reason
    surface: Surface | None = None  # the way in, as soon as it is known
    served_model: str | None = None  # the one that an alias led to
    translation: Translation | None = None  # of a format that not every endpoint speaks
    permit: Permit | None = None  # what limits have let pass
    ended_by: ApiError | None = None  # why we end it before its time
    session: Session | None = None  # when sticky sessions are on
    trace: RequestTrace | None = None  # when traces are wanted
    _begun_early = False  # by `keep_waiting`
    _is_late = False  # an answer that is no stream, in a stream that has begun
    _free_at = 0.0  # since when it could go to an endpoint, in seconds since it came in
    _placed_at = 0.0
    _full: Full | None = None  # the limit that has refused it
    _capture: Capture | None = None  # for keys that keep what is asked and answered
    _watcher: asyncio.Task[None] | None = None

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started_at = time.perf_counter()
        self.scope = scope
        self.receive = receive
        self._send = send
        self._extensions: Mapping[str, Any] = scope.get("extensions") or NOTHING
        self.method: str = scope["method"]
        self.headers: list[Pair] = scope["headers"]
        self.head = Head.of(scope)
        # Daphne gives no raw path.
        self.path: bytes = scope.get("raw_path") or scope["path"].encode()
        sent_id = self.head.named.get(b"x-request-id")
        self.request_id = ids.accept_request_id(sent_id.decode("latin-1") if sent_id else None)
        self.attempts: list[Attempt] = []
        self.dialect = dialect_of(self.path)
        self.own_headers: list[Pair] = []  # of this answer, beside the common ones

    # --- The request ---

    async def read_body(self, spool: Spool, limit: int) -> Body:
        """Raises ApiError, 413 for a body over `limit`, ClientDisconnected when the client leaves."""
        self._check_length(limit)
        take_body = self._extensions.get(asgi.TAKE_BODY)
        body: Body | None = None if take_body is None else take_body()
        if body is None:
            try:
                body = await spool.read(self.receive, limit=limit)
            except BodyTooLarge:
                raise errors.request_too_large(limit) from None
            except NoRoomError:
                raise errors.no_room_for_body() from None
        elif len(body) > limit:
            raise errors.request_too_large(limit)
        self.bytes_in = len(body)
        self._free_at = self.elapsed
        if self.holder is not None and self.holder.keeps_bodies:
            self._capture = Capture(data_of(body))
        return body

    def _check_length(self, limit: int) -> None:
        """What is said of the body, before any of it is read."""
        if self.head.unknown_coding:
            raise errors.unknown_transfer_coding()
        if self.head.ambiguous_length:
            raise errors.ambiguous_length()
        if int(headers.value(self.headers, b"content-length") or b"0") > limit:
            raise errors.request_too_large(limit)

    def watch_client(self) -> None:
        """From now on, the running task is cancelled when the client leaves. To be called after the body."""
        tell_when_left = self._extensions.get(asgi.CLIENT_LEFT)
        if tell_when_left is not None:
            tell_when_left(self._cancel)
        elif (task := asyncio.current_task()) is not None:
            self._watcher = asyncio.create_task(self._cancel_when_client_leaves(task))

    async def _cancel_when_client_leaves(self, task: asyncio.Task[Any]) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self._cancel(task)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        self.client_left = True
        task.cancel()

    def stop_watching(self) -> None:
        """Also lets go of what refers to this call: no cycle is left for the collector."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    @property
    def holder(self) -> Holder | None:
        """Whose key the caller has sent, None when nobody's."""
        return self.caller.holder if self.caller else None

    # --- The endpoints that are tried ---

    def placed(self, target: Target) -> None:
        """There is a place for it at `target`."""
        self.target = target
        self._placed_at = self.elapsed

    def tried(self, endpoint: str, reason: str | None) -> None:
        """The attempt there is over: it failed for `reason`, or its answer has begun."""
        ended_at = self.elapsed
        waited, lasted = self._placed_at - self._free_at, ended_at - self._placed_at
        self.attempts.append(Attempt(endpoint, reason, waited, lasted))
        self._free_at = ended_at

    # --- The answer ---

    @property
    def elapsed(self) -> float:
        """Seconds since the call came in."""
        return time.perf_counter() - self.started_at

    async def keep_waiting(self, comment: bytes) -> None:
        """Send a comment of an event stream while there is no answer, lest somebody take us for dead."""
        if not self.status:
            await self.begin(
                HTTPStatus.OK, [(b"content-type", headers.EVENT_STREAM), *headers.STREAM_HEADERS]
            )
            self.sends_events = self._begun_early = True
        await self.write(comment, more=True)

    async def begin(self, status: int, pairs: list[Pair], shared: HeaderLines = NO_LINES) -> None:
        """Send status and headers: `pairs`, then the common ones. `shared` are more that repeat.

        Of an answer that `keep_waiting` has begun they are known; what is no stream becomes an event in it.
        """
        start = self._start(status, pairs, shared)
        if start is not None:
            await self._send(start)

    async def answer(
        self, status: int, body: bytes, pairs: list[Pair], shared: HeaderLines = NO_LINES
    ) -> None:
        """A whole answer, at once where the server can: the same as `begin` and one `write`."""
        start = self._start(status, pairs, shared)
        if start is not None and asgi.FULL_START in self._extensions:
            start[asgi.WHOLE_BODY] = body
            self._count(body)
            await self._send(start)
            return
        if start is not None:
            await self._send(start)
        await self.write(body, more=False)

    def _start(self, status: int, pairs: list[Pair], shared: HeaderLines) -> Message | None:
        """What begins the answer, None when it has begun."""
        self.status = status
        if self._begun_early:
            self._begun_early = False
            self._is_late = status != HTTPStatus.OK or not headers.is_event_stream([*pairs, *shared.pairs])
            return None
        pairs = pairs + common_headers.own(self)
        common = common_headers.of_its_way(self)
        start: Message = {"type": "http.response.start", "status": status, "headers": pairs}
        if asgi.FULL_START in self._extensions:
            start[asgi.HEADER_LINES] = (shared, common)
        else:
            pairs += [*shared.pairs, *common.pairs]
        return start

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a piece of the body. Returns when the client's connection can take more."""
        if self._is_late and body:
            body = self.dialect.late(body)
        self._count(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def _count(self, body: bytes) -> None:
        self.bytes_out += len(body)
        if self._capture is not None:
            self._capture.add(body)

    async def respond(self, status: int, body: bytes, pairs: list[Pair]) -> None:
        """A whole answer of our own."""
        length = (b"content-length", b"%d" % len(body))
        await self.answer(status, b"" if self.method == "HEAD" else body, [*pairs, length])

    async def respond_json(self, status: int, payload: Any, pairs: list[Pair] | None = None) -> None:
        await self.respond(status, asgi.encode_json(payload), [(b"content-type", asgi.JSON), *(pairs or [])])

    async def fail(self, error: ApiError) -> None:
        """Answer with OpenAI's error object; does nothing once an answer has begun."""
        self.error_code = error.code
        if isinstance(error, errors.LimitReached):
            self._full = error.full
        if self.status:
            return
        body = self.dialect.error(error, self.request_id)
        pairs = [(name.lower().encode(), headers.text(value)) for name, value in error.headers.items()]
        await self.respond_json(error.status, body, pairs)

    def outcome(self) -> Outcome:
        tokens = self.tap.tokens() if self.tap and self.status == HTTPStatus.OK else None
        return Outcome(
            ended_at=clock.now(),
            request_id=self.request_id,
            method=self.method,
            route=self.path.decode("latin-1"),
            caller=self.caller.address if self.caller else "",
            model=headers.shown(self.model),
            endpoint=self.target.name if self.target else None,
            attempts=tuple(self.attempts),
            status=self.status,
            stream=self.stream,
            ttft=self.ttft,
            duration=self.elapsed,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            error_code=self.error_code,
            client_left=self.client_left,
            tokens=tokens,
            served_model=headers.shown(self.served_model),
            routing=self.routing,
            holder=self.holder,
            charged=charged(self, tokens, self.permit.guess if self.permit else NONE),
            overhead=self.overhead,
            full=self._full,
            bodies=None if self._capture is None else self._capture.bodies(self.bytes_out),
        )
