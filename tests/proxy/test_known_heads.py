"""Heads that came before are not parsed again: nothing that anybody can see may change by that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from ollaproject.client_connection import ClientConnection
from ollaproject.wire.heads import MAX_KNOWN, Memory
from proxy.connection import Connection, Timeouts
from proxy.wire_errors import WireError

if TYPE_CHECKING:
    from ollaproject.wire.asgi import Receive, Scope, Send
    from proxy.answer_head import AnswerHead

COMMON_LINES = ["Host: localhost", "X-Name: value", "Content-Length: %(size)d", "content-length: %(size)d"]
# What a head may hold that must be read anew each time, or refused.
ODD_LINES = [
    *(
        "CONTENT-LENGTH: %(size)d",
        "Content-Length:%(size)d",
        "Content-Length : %(size)d",
        "Content-Length: %(size)d ",
    ),
    *(
        "Content-Length: 0%(size)d",
        "Content-Length: +%(size)d",
        "X-Name: Content-Length: %(size)d",
        "no colon",
    ),
    *("Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive", "Expect: 100-continue"),
    *(
        " Content-Length: %(size)d",
        "X-Broken: a\nContent-Length: %(size)d",
        "X-Request-Id: one",
        "Upgrade: h2c",
    ),
]
LINES = st.lists(st.sampled_from(COMMON_LINES) | st.sampled_from(ODD_LINES), max_size=5)
BODIES = st.lists(st.binary(max_size=30), min_size=2, max_size=4)
Seen = list[tuple[object, ...]]


class Wire(asyncio.Transport):
    """A connection whose other side is the test."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nobody listens."""

    def pause_reading(self) -> None:
        """The test feeds it anyway."""

    resume_reading = pause_reading


def messages(first_line: str, lines: list[str], bodies: list[bytes]) -> list[bytes]:
    """Whole messages with the same head, but for the length of their bodies."""
    template = "\r\n".join([first_line, *lines, "", ""])
    return [template.replace("%(size)d", str(len(body))).encode() + body for body in bodies]


def pieces_of(message: bytes, *, whole: bool) -> list[bytes]:
    """What does not come in one piece is parsed, always."""
    return [message] if whole else [message[:1], message[1:]]


async def body_of(receive: Receive) -> bytes:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    return body


async def served(requests: list[bytes], *, whole: bool) -> tuple[Seen, bytes, bool]:
    """What an application gets of these requests, what the client reads, and whether it may go on."""
    seen: Seen = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        told = (scope[name] for name in ("method", "raw_path", "query_string", "headers"))
        seen.append((*told, await body_of(receive)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(seen)})

    config = uvicorn.Config(application, http=ClientConnection, log_config=None, lifespan="off")
    connection = ClientConnection(config=config, server_state=ServerState(), app_state={})
    wire = Wire()
    connection.connection_made(wire)
    for request in requests:
        for piece in pieces_of(request, whole=whole):
            if not wire.closed:
                connection.data_received(piece)
        await let_it_work()
    is_open = not wire.closed
    connection.connection_lost(None)
    await let_it_work()
    return seen, wire.written, is_open


async def let_it_work() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@settings(max_examples=200, deadline=None)
@given(lines=LINES, bodies=BODIES)
@example(lines=["Host: localhost", "Content-Length: %(size)d"], bodies=[b"first", b"the second", b""])
@example(lines=["Host: localhost"], bodies=[b"", b"", b""])
@example(lines=["Host: a", "Content-Length: %(size)d", "content-length: %(size)d"], bodies=[b"1", b"2"])
@example(
    lines=["Content-Length: %(size)d", "Transfer-Encoding: chunked"], bodies=[b"0\r\n\r\n", b"0\r\n\r\n"]
)
def test_requests_are_the_same_whether_their_head_came_before(lines: list[str], bodies: list[bytes]) -> None:
    requests = messages("POST /v1/x?y=1 HTTP/1.1", lines, bodies)

    assert asyncio.run(served(requests, whole=True)) == asyncio.run(served(requests, whole=False))


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
        head.for_client(connection.said_length),
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


def test_only_so_many_heads_are_remembered_and_those_in_use_longest() -> None:
    memory: Memory[int] = Memory()
    memory.keep(b"in use", 1)
    for number in range(MAX_KNOWN * 2):
        memory.keep(b"%d" % number, number)
        memory.recall(b"in use")

    assert len(memory) == MAX_KNOWN
    assert memory.recall(b"in use") == 1
    assert memory.recall(b"0") is None
