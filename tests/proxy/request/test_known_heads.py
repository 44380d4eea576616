"""Heads of requests that came before are not parsed again: nothing that anybody can see changes by that."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, NamedTuple

import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from ollaproject.client_connection import ClientConnection
from ollaproject.wire.asgi import SAME_HEAD
from ollaproject.wire.heads import MAX_KNOWN_BYTES
from tests.proxy.bare_wire import BODIES, COMMON_LINES, LINES, ODD_LINES, Seen, Wire, messages, pieces_of
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ollaproject.wire.asgi import Receive, Scope, Send
    from tests.proxy.conftest import Served

CONNECTIONS = 3
# What is meant to be taken for something that it is not.
HIDDEN = b"POST /hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nhidden"
LINE_OF_LENGTH = b"x\r\ncontent-length: 5\r\n\r\nbody!"
CHUNKED_HEAD = b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"5\r\nchunk\r\n0\r\n\r\n"
CHUNK_OF_LENGTH = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LINE_OF_LENGTH), LINE_OF_LENGTH)
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def body_of(receive: Receive) -> bytes:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    return body


class Sent(NamedTuple):
    """What a client sends in one piece, over which of its connections. With others `at_once`, nothing happens
    between them.
    """

    data: bytes
    connection: int = 0
    at_once: bool = False


class Talk(NamedTuple):
    """What became of it: what the application got, what clients read, and who may go on."""

    seen: Seen
    read: list[bytes]
    open: list[bool]


async def talk_of(sent: Iterable[Sent], *, whole: bool) -> Talk:
    """What one server makes of it. `whole`: in the pieces that were sent, so that heads can be known."""
    seen: Seen = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        told = (scope[name] for name in ("method", "raw_path", "query_string", "headers", "client"))
        seen.append((*told, await body_of(receive)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(seen[-1][-1])})  # type: ignore[arg-type]

    config = uvicorn.Config(application, http=ClientConnection, log_config=None, lifespan="off")
    wires = [Wire(number) for number in range(CONNECTIONS)]
    connections = [connected(wire, config) for wire in wires]
    for data, number, at_once in sent:
        for piece in pieces_of(data, whole=whole):
            if not wires[number].closed:
                connections[number].data_received(piece)
        if not at_once:
            await let_it_work()
    await let_it_work()
    still_open = [not wire.closed for wire in wires]
    for connection in connections:
        connection.connection_lost(None)
    await let_it_work()
    return Talk(seen, [wire.written for wire in wires], still_open)


def connected(wire: Wire, config: uvicorn.Config) -> ClientConnection:
    made = ClientConnection(config=config, server_state=ServerState(), app_state={})
    made.connection_made(wire)
    return made


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
    sent = [Sent(data) for data in messages("POST /v1/x?y=1 HTTP/1.1", lines, bodies)]

    assert asyncio.run(talk_of(sent, whole=True)) == asyncio.run(talk_of(sent, whole=False))


class Turn(NamedTuple):
    """A request of one of the two heads that a talk is about, and how it is not as its head says."""

    head: int
    body: bytes
    says_more: int
    behind: bytes
    connection: int
    at_once: bool
    spoilt: tuple[int, bytes] | None


HEADS = st.lists(st.sampled_from(COMMON_LINES) | st.sampled_from(ODD_LINES), max_size=3)
SPOILING = [b"\r", b"\n", b":", b" ", b"0", b"x", b""]
TURNS = st.builds(
    Turn,
    head=st.integers(0, 1),
    body=st.sampled_from([b"", b"body", b"a longer body", LINE_OF_LENGTH, CHUNKED, HIDDEN]),
    says_more=st.sampled_from([0, 0, 0, 0, -1, 1, len(HIDDEN), -len(HIDDEN)]),
    behind=st.sampled_from([b"", b"", b"", b"\r\n", b"\r\n\r\n", HIDDEN]),
    connection=st.integers(0, CONNECTIONS - 1),
    at_once=st.booleans(),
    spoilt=st.none()
    | st.tuples(st.integers(0, 200), st.sampled_from([b"\r", b"\n", b":", b" ", b"0", b"x", b""])),
)


def sent_in(turn: Turn, heads: Sequence[list[str]]) -> Sent:
    head = "\r\n".join(["POST /v1/x HTTP/1.1", *heads[turn.head], "", ""])
    data = head.replace("%(size)d", str(max(0, len(turn.body) + turn.says_more))).encode() + turn.body
    if turn.spoilt is not None:
        place = turn.spoilt[0] % len(data)
        data = data[:place] + turn.spoilt[1] + data[place + 1 :]
    return Sent(data + turn.behind, turn.connection, turn.at_once)


@settings(max_examples=600, deadline=None)
@given(heads=st.tuples(HEADS, HEADS), turns=st.lists(TURNS, min_size=2, max_size=8))
def test_whatever_comes_after_a_head_that_is_known_is_read_as_a_parser_reads_it(
    heads: tuple[list[str], list[str]], turns: list[Turn]
) -> None:
    """Bodies that are shorter or longer than said, requests within them, stray line ends, spoilt bytes."""
    sent = [sent_in(turn, heads) for turn in turns]

    assert asyncio.run(talk_of(sent, whole=True)) == asyncio.run(talk_of(sent, whole=False))


GET = b"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
KNOWN = b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        ([KNOWN % 4 + b"body", KNOWN % len(HIDDEN) + HIDDEN], [b"body", HIDDEN]),
        ([KNOWN % 4 + b"body", KNOWN % 4 + b"body" + HIDDEN], [b"body", b"body", b"hidden"]),
        ([KNOWN % 4 + b"body", KNOWN % 8 + b"half", b"half"], [b"body", b"halfhalf"]),
        ([KNOWN % 4 + b"body", KNOWN % 0 + HIDDEN], [b"body", b"", b"hidden"]),
        ([GET, GET + HIDDEN], [b"", b"", b"hidden"]),
        ([GET, b"\r\n\r\n", b"\r\n\r\n", GET], [b"", b""]),
        ([KNOWN % 4 + b"body", b"\r\n\r\n", b"\r\n\r\n"], [b"body"]),
        ([GET, b"\r\n\r\n" + GET], [b"", b""]),
        ([CHUNKED_HEAD, CHUNKED, CHUNKED_HEAD, CHUNKED], [b"chunk", b"chunk"]),
        ([CHUNKED_HEAD + CHUNKED, CHUNKED_HEAD + CHUNKED], [b"chunk", b"chunk"]),
        ([KNOWN % 4 + b"body", KNOWN.replace(b"%d", b"9" * 5000) + b"body"], [b"body"]),
        ([CHUNKED_HEAD + CHUNK_OF_LENGTH] * 2, [LINE_OF_LENGTH, LINE_OF_LENGTH]),
    ],
    ids=[
        "a request as a body", "one behind a body", "a body in two pieces", "one behind no body",
        "one behind a head", "line ends between", "line ends behind a body", "line ends before",
        "chunks after their head", "chunks with it", "no number",
        "a length within a chunk",
    ],
)  # fmt: skip
def test_where_a_request_ends_is_where_its_head_says(data: list[bytes], bodies: list[bytes]) -> None:
    """Also when the connection's requests have had that head all along."""
    before = [one for one in (GET, KNOWN % 4 + b"body") if one == data[0]] * 2
    for times in (0, len(before)):
        talk = asyncio.run(talk_of(map(Sent, [*before[:times], *data]), whole=True))
        assert [seen[-1] for seen in talk.seen] == [bodies[0]] * times + bodies


def test_requests_with_one_head_that_come_together_keep_their_own_length_and_client() -> None:
    sent = [
        Sent(KNOWN % 4 + b"body"),
        Sent(KNOWN % 5 + b"other", connection=1, at_once=True),
        Sent(KNOWN % 6 + b"longer", connection=2, at_once=True),
    ]
    talk = asyncio.run(talk_of(sent, whole=True))
    told = [(dict(headers)[b"content-length"], client, body) for *_, headers, client, body in talk.seen]  # type: ignore[call-overload]
    assert told == [
        (b"4", ("127.0.0.1", 0), b"body"),
        (b"5", ("127.0.0.1", 1), b"other"),
        (b"6", ("127.0.0.1", 2), b"longer"),
    ]


def test_heads_that_differ_behind_their_length_are_two() -> None:
    one = (KNOWN % 4).replace(b"\r\n\r\n", b"\r\nX-Key: one\r\n\r\n") + b"body"
    sent = map(Sent, [one, one, one.replace(b"one", b"two")])
    talk = asyncio.run(talk_of(sent, whole=True))
    keys = [dict(headers)[b"x-key"] for *_, headers, _client, _body in talk.seen]  # type: ignore[call-overload]
    assert keys == [b"one", b"one", b"two"]


def test_nobody_asks_in_anothers_name_by_line_ends(served: Served) -> None:
    """Over real connections: what one client has sent is never sent again for another."""
    with raw_client(served.port) as one:
        one.send(LIVE)
        one.read_until(b"}")
        one.send(b"\r\n\r\n")
        one.send(LIVE)  # after its answer, the line ends have come as well
        one.read_until(b"}")
    with raw_client(served.port) as other:
        other.send(b"\r\n\r\n")
        other.send(LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert other.read_to_close().count(b"HTTP/1.1 200 ") == 1


def kept_of(requests: list[bytes]) -> list[bool]:
    """Which of these heads are known after all of them came, each on a connection of its own."""

    async def talk() -> list[bool]:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["extensions"][SAME_HEAD])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        seen: list[object] = []
        config = uvicorn.Config(application, http=ClientConnection, log_config=None, lifespan="off")
        for request in [*requests, *requests]:
            connection = connected(Wire(), config)
            connection.data_received(request)
            await let_it_work()
            connection.connection_lost(None)
        return [one is other for one, other in zip(seen, seen[len(requests) :], strict=False)]

    return asyncio.run(talk())


def test_a_head_is_known_to_every_connection_of_a_server() -> None:
    assert kept_of([GET, KNOWN % 4 + b"body", GET.replace(b"GET", b"HEAD")]) == [True, True, True]


@pytest.mark.parametrize(
    "line",
    [b"X-Request-ID: 1", b"traceparent: 00-1", b"X-Long: " + b"x" * MAX_KNOWN_BYTES, b"Connection: close"],
    ids=["request id", "trace", "long", "last of its connection"],
)
def test_a_head_that_will_not_come_again_takes_nobodys_place(line: bytes) -> None:
    assert kept_of([GET.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n"), GET]) == [False, True]


def test_a_known_head_holds_no_connection() -> None:
    async def talk() -> object:
        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        config = uvicorn.Config(application, http=ClientConnection, log_config=None, lifespan="off")
        connection = connected(Wire(), config)
        gone = weakref.ref(connection)
        connection.data_received(GET)
        await let_it_work()
        connection.connection_lost(None)
        del connection
        await let_it_work()
        gc.collect()
        return gone()

    assert asyncio.run(talk()) is None
