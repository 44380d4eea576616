"""A request in another format than chat, beside endpoints that may or may not speak it.

Each candidate is asked in the format that its profile speaks: its own bytes, untouched, or a chat request.
The answer comes back in the client's format either way. So failover works between the two kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from ollaproject.wire import sse
from ollaproject.wire.asgi import JSON, encode_json
from ollaproject.wire.chat import BackendFailed, Completion, TranslationError, read_chunk, read_completion
from proxy import errors
from proxy.answer.relay import cut, relay
from proxy.errors import BrokenAnswerError, UpstreamError
from proxy.request.beside import done
from proxy.request.bodies import NoRoomError
from proxy.request.headers import STREAM_HEADERS, value
from proxy.routing.failover import settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from endpoints.routing.snapshot import Target
    from proxy.answer.dialects import Dialect
    from proxy.call import Call
    from proxy.request.bodies import Body, Spool, Spooled
    from proxy.request.headers import Pair
    from proxy.request.parameters import Parameters
    from proxy.routing.failover import Begun
    from proxy.upstream.upstream import Outgoing

FIRST_ERROR_STATUS = 400
# An endpoint that answers so does not know the route, whatever is said of its type.
NO_SUCH_ROUTE = frozenset({404, 405, 501})
CHAT = b"/v1/chat/completions"
EVENTS = (b"content-type", sse.CONTENT_TYPE)
DONE = b"[DONE]"
KEPT_FROM_ERRORS = (b"retry-after", b"x-should-retry")


class Told(Protocol):
    """A stream of chat chunks as events of the client's format, encoded."""

    def feed(self, chunk: Completion) -> bytes: ...

    def finish(self) -> bytes: ...


class Translation:
    """One request. Subclasses say what it is in chat, and how a chat's answer is told."""

    name = ""
    """What its figures are counted under."""
    drops: tuple[bytes, ...] = ()
    """Beginnings of headers that mean nothing to an endpoint that is asked in chat."""

    def __init__(self, body: Body, spool: Spool, parameters: Parameters | None = None) -> None:
        self.body = body
        self._spool = spool
        self._parameters = parameters
        self.passed = False  # to an endpoint that speaks the format itself
        self.fell_back = False  # one was believed to, and did not
        self._mute: set[int] = set()
        self._translated: Outgoing | None = None

    # --- What a format is ---

    def is_spoken_by(self, target: Target) -> bool:
        raise NotImplementedError

    def chat(self) -> Any:
        """The body for an endpoint that speaks chat only. Raises ApiError 400."""
        raise NotImplementedError

    def forget_chat(self) -> None:
        """It has been encoded: what was read of a large request goes before the answer comes."""
        raise NotImplementedError

    def whole(self, completion: Completion) -> Any:
        """The body for the client. Raises TranslationError."""
        raise NotImplementedError

    def stream(self) -> Told:
        raise NotImplementedError

    def dialect(self, stream: Told) -> Dialect | None:  # noqa: ARG002
        """How `stream` says that it cannot go on, None when as the route does."""
        return None

    def error(self, status: int, body: bytes, request_id: str) -> bytes:  # noqa: ARG002
        """A backend's error in the client's format."""
        return body

    def headers(self) -> list[Pair]:
        """What the answer carries, by how it came about."""
        return []

    # --- The request ---

    async def outgoing_for(self, outgoing: Outgoing, target: Target) -> Outgoing:
        """The request as `target` understands it. Raises ApiError when it cannot be said in chat."""
        # What an alias adds is said in chat.
        own = self._parameters is None and target.id not in self._mute
        self.passed = own and self.is_spoken_by(target)
        if self.passed:
            return outgoing
        if self._translated is None:
            self._translated = await self._translate(outgoing)
        return self._translated

    async def _translate(self, outgoing: Outgoing) -> Outgoing:
        shared = outgoing.shared.without(self.drops) if self.drops else outgoing.shared
        if isinstance(self.body, bytes):
            body: Body = await done(len(self.body), self._encoded)
        else:
            body = await self._kept(self.body)
        # Without us: a cycle would hold the body until the garbage collector comes.
        return replace(outgoing, path=self.chat_path, query=b"", shared=shared, body=body, translation=None)

    async def _kept(self, body: Spooled) -> Body:
        """A large body lies in a file: so does what becomes of it."""
        try:
            return await self._spool.keep(self._encoded)
        except NoRoomError:
            raise errors.no_room_for_body() from None
        finally:
            body.rest()

    def _encoded(self) -> bytes:
        chat = self.chat() if self._parameters is None else self._parameters.put_into(self.chat())
        body = msgspec.json.encode(chat)  # in a quarter of the time that the standard library takes
        self.forget_chat()
        return body

    @property
    def chat_path(self) -> bytes:
        return CHAT

    def should_be_told_in_chat(self, begun: Begun) -> bool:
        """Whether an endpoint that was believed to speak the format has answered that it does not."""
        if not self.passed or begun.answer.status not in NO_SUCH_ROUTE:
            return False
        self._mute.add(begun.answer.target.id)
        self.fell_back = True
        return True

    # --- The answer ---

    async def relay(self, call: Call, begun: Begun) -> None:
        """Give the client its answer. Raises ApiError while none has begun."""
        call.own_headers += self.headers()
        if self.passes_unchanged(begun):
            await relay(call, begun)
            return
        try:
            await self._tell(call, begun)
            settle(begun, call.bytes_out)
        except UpstreamError as error:
            begun.running.failed(call.bytes_out, reason=str(error), broken=True)
            if not call.status:
                told = [f"{begun.answer.target.name} {error}"]
                raise errors.all_failed(told, timed_out=False) from error
            await cut(call, begun, error)
        finally:
            begun.running.abandoned(call.bytes_out)
            begun.answer.close()

    def passes_unchanged(self, begun: Begun) -> bool:  # noqa: ARG002
        """Whether the answer is in the client's format already."""
        return self.passed

    async def _tell(self, call: Call, begun: Begun) -> None:
        answer = begun.answer
        if answer.is_stream and answer.status < FIRST_ERROR_STATUS:
            await self._tell_stream(call, begun)
            return
        body = begun.body if begun.body is not None else await answer.gather()
        if call.tap is not None:
            call.tap.take(body)
        call.ttft = call.elapsed
        if answer.status >= FIRST_ERROR_STATUS:
            kept = [pair for pair in answer.headers if pair[0] in KEPT_FROM_ERRORS]
            told = self.error(answer.status, body, call.request_id)
            kind = value(answer.headers, b"content-type") if told is body else JSON
            await call.respond(answer.status, told, [(b"content-type", kind or JSON), *kept])
            return
        completion = _understood(read_completion, body)
        if call.stream:
            await self._tell_at_once(call, completion)
        else:
            await call.respond(
                answer.status, encode_json(_understood(self.whole, completion)), [(b"content-type", JSON)]
            )

    async def _tell_at_once(self, call: Call, completion: Completion) -> None:
        """A stream was asked for, and the endpoint has answered whole."""
        stream = self.stream()
        completion.choices[0].delta = completion.choices[0].message
        told = _understood(stream.feed, completion) + stream.finish()
        await call.answer(200, told, [EVENTS, *STREAM_HEADERS])

    async def _tell_stream(self, call: Call, begun: Begun) -> None:
        stream, reader, answer = self.stream(), sse.Reader(), begun.answer
        call.sends_events = True
        call.dialect = self.dialect(stream) or call.dialect
        await call.begin(answer.status, [EVENTS, *STREAM_HEADERS])
        call.ttft = call.elapsed
        last, begins = False, True
        while not last:
            piece = await answer.read()
            if begins:
                begun.running.began()
                begins = False
            last = answer.whole and not answer.buffered
            if call.tap is not None:
                call.tap.take(piece)
            events = _understood(reader.feed, piece) + (reader.rest() if last else [])
            told: list[bytes] = []
            try:
                told.extend(
                    _understood(stream.feed, _understood(read_chunk, event.data))
                    for event in events
                    if event.data != DONE
                )
                if last:
                    told.append(_understood(lambda ended: ended.finish(), stream))
            except BrokenAnswerError:
                await self._pass_on(call, told, last=False)  # what came before it is good
                raise
            await self._pass_on(call, told, last=last)

    async def _pass_on(self, call: Call, told: list[bytes], *, last: bool) -> None:
        piece = b"".join(told)
        if piece:
            call.tail = piece
            await call.write(piece, more=not last)


async def converse(call: Call, translation: Translation, ask: Callable[[], Awaitable[Begun]]) -> None:
    """One request and its answer; once more in chat when an endpoint does not speak the format after all."""
    begun = await ask()
    if translation.should_be_told_in_chat(begun):
        settle(begun)
        begun.answer.close()
        begun = await ask()
    await translation.relay(call, begun)


def _understood(read: Any, what: Any) -> Any:
    """What an endpoint says wrongly is its failure, as a broken connection is."""
    try:
        return read(what)
    except (TranslationError, BackendFailed) as error:
        raise BrokenAnswerError(str(error)) from error
    except sse.EventTooLong as error:
        raise BrokenAnswerError("sent an event without an end") from error
