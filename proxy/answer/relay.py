"""From the upstream to the client, bytes as they come. A cut answer is shown as cut.

After the first byte nothing can be retried. When the upstream then fails, a stream gets one last event that
says so, and in any case the connection is closed without the final chunk, or short of its length, so that no
client takes what it has for a whole answer. In ASGI that is: returning without a last body message.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.errors import UpstreamError
from proxy.routing.failover import settle

if TYPE_CHECKING:
    from ollaproject.wire.openai_errors import ApiError
    from proxy.call import Call
    from proxy.routing.failover import Begun

logger = logging.getLogger(__name__)

EVENT_ENDS = (b"\n\n", b"\r\n\r\n")


async def relay(call: Call, begun: Begun) -> None:
    """Pass an answer on, to its end or to the point where the upstream failed."""
    call.sends_events = begun.answer.is_stream
    if call.tap is not None and not call.sends_events:
        call.tap.show_all()
    answer, body = begun.answer, begun.body
    try:
        if body is not None:
            if call.tap is not None:
                call.tap.take(body)
            call.ttft = call.elapsed
            await call.answer(answer.status, body, answer.length_shown, answer.head.shown)
        else:
            await call.begin(answer.status, answer.length_shown, answer.head.shown)
            call.ttft = call.elapsed
            await _pass_on(call, begun)
        settle(begun, call.bytes_out)
    except UpstreamError as error:
        begun.running.failed(call.bytes_out, reason=str(error), broken=True)
        await cut(call, begun, error)
    finally:
        begun.running.abandoned(call.bytes_out)  # does nothing after the other two: then the client has left
        begun.answer.close()


async def _pass_on(call: Call, begun: Begun) -> None:
    answer, tap = begun.answer, call.tap
    if not answer.buffered:
        await call.write(b"", more=True)  # daphne keeps the headers back until there is a body
    begins = True
    while True:
        piece = await answer.read()
        if begins:
            begun.running.began()
            begins = False
        last = answer.whole and not answer.buffered
        if tap is not None:
            piece = tap.take(piece) + tap.rest() if last else tap.take(piece)
            if not piece and not last:
                continue
        call.tail = piece or call.tail
        await call.write(piece, more=not last)
        if last:
            return


async def cut(call: Call, begun: Begun, error: UpstreamError) -> None:
    """Say what happened, and leave the answer unfinished."""
    name = begun.answer.target.name
    said = "%s: %s broke off in the middle of its answer: %s"
    logger.warning(said, call.request_id, name, error, extra={"request_id": call.request_id})
    await _leave_unfinished(call, f"{name} {error}.", error.code)


async def break_off(call: Call, error: ApiError) -> None:
    """End a call because we must: with an error when no answer has begun, else by cutting it visibly."""
    if call.status:
        await _leave_unfinished(call, error.message, error.code)
    else:
        await call.fail(error)


async def _leave_unfinished(call: Call, what_happened: str, code: str | None) -> None:
    call.error_code = code
    if not call.sends_events:
        return
    message = f"{what_happened} What came before this is not the whole answer (request {call.request_id})."
    half = call.tap.rest() if call.tap is not None else b""
    before = half or call.tail
    separator = b"" if not before or before.endswith(EVENT_ENDS) else b"\n\n"
    event = call.dialect.broken_off(message, code, call.request_id)
    await call.write(half + separator + event, more=True)
