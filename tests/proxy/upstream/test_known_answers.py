"""Heads of endpoints' answers that came before are not parsed again: nobody can tell by the answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ollaproject.wire.heads import Memory
from proxy.upstream.connection import Connection, Timeouts
from proxy.upstream.wire_errors import WireError
from tests.proxy.bare_wire import BODIES, LINES, Seen, Wire, messages, pieces_of

if TYPE_CHECKING:
    from proxy.upstream.answer_head import AnswerHead


async def answered(answers: list[bytes], *, whole: bool, method: str = "GET") -> Seen:
    """What comes of one exchange after another, on one connection as long as it may be used again."""
    known: Memory[AnswerHead] = Memory()
    seen: Seen = []
    connection: Connection | None = None
    for answer in answers:
        if connection is None or not connection.reusable:
            connection = Connection(asyncio.get_running_loop(), lambda _: None, known)
            connection.connection_made(Wire())
        task = asyncio.create_task(_exchange(connection, expects_body=method != "HEAD"))
        await asyncio.sleep(0)
        for piece in pieces_of(answer, whole=whole):
            connection.data_received(piece)
        await asyncio.sleep(0)
        if not task.done():
            connection.connection_lost(None)
        seen.append((*await task, connection.reusable))
    return seen


async def _exchange(connection: Connection, *, expects_body: bool) -> tuple[object, ...]:
    timeouts = Timeouts(5, 5, 5, 5)
    try:
        await connection.exchange(b"GET", b"", timeouts=timeouts, expects_body=expects_body)
        body = b""
        while data := await connection.read(5):
            body += data
    except WireError as error:
        return (type(error),)
    head = connection.head
    return (
        connection.status,
        connection.headers,
        head.shown.pairs,
        head.shows_length,
        head.is_stream,
        body,
    )


@settings(max_examples=200, deadline=None)
@given(
    lines=LINES,
    bodies=BODIES,
    status=st.sampled_from(["200 OK", "404 Not Found", "204 No Content", "304 Not Modified", "100 Continue"]),
    method=st.sampled_from(["GET", "HEAD"]),
)
@example(
    lines=["Content-Length: %(size)d"], bodies=[b"first", b"the second", b"x"], status="200 OK", method="GET"
)
@example(
    lines=["Content-Length: %(size)d"],
    bodies=[b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"] * 2,
    status="100 Continue",
    method="GET",
)
def test_answers_are_the_same_whether_their_head_came_before(
    lines: list[str], bodies: list[bytes], status: str, method: str
) -> None:
    wire = messages(f"HTTP/1.1 {status}", lines, bodies)

    parsed = asyncio.run(answered(wire, whole=False, method=method))

    assert asyncio.run(answered(wire, whole=True, method=method)) == parsed
