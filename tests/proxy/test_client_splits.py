"""Requests cut into arbitrary pieces, honest ones and such as are meant to be read in two ways.

Where the pieces end changes nothing. What passes is what h11, a parser that shares no code with ours, reads
in the same bytes: so a backend never gets a request that was hidden in another one.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, NamedTuple

import h11
import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as some
from uvicorn.server import ServerState

from ollaproject.client_connection import ClientConnection
from ollaproject.wire.asgi import ClientDisconnected
from ollaproject.wire.openai_errors import ApiError
from proxy.call import Call
from proxy.request.bodies import Spool, data_of
from tests.proxy.upstream.test_connection import pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ollaproject.wire.asgi import Receive, Scope, Send

STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LIMIT = 1000


class Seen(NamedTuple):
    """A request as the gateway takes it to be."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def without_case(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """h11 writes `chunked` in small letters, and we leave out a wish for another protocol."""
    return tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in headers
        if name != b"upgrade"
    )


class _Client(asyncio.Transport):
    """A client that has sent what it wanted to send, and takes what comes."""

    def __init__(self) -> None:
        super().__init__({"socket": None, "peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.taken = b""
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.taken += data

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def pause_reading(self) -> None:
        """The test feeds it anyway."""

    def resume_reading(self) -> None:
        """See above."""


class Door:
    """Our connection, with the gateway's own way of taking a request in, and no endpoint behind it."""

    def __init__(self, folder: Path) -> None:
        self._spool = Spool(folder, memory=LIMIT, disk=LIMIT)
        self._config = uvicorn.Config(
            self._application, interface="asgi3", log_config=None, proxy_headers=False
        )
        self._config.load()
        self._seen: list[Seen] = []

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send)
        try:
            body = await call.read_body(self._spool, LIMIT)
        except ApiError as error:
            await call.fail(error)
            return
        except ClientDisconnected:
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self._seen.append(
            Seen(call.method.encode(), target, without_case(call.headers), bytes(data_of(body)))
        )
        await call.respond(200, b"", [])

    async def take(self, pieces: list[bytes]) -> tuple[list[Seen], list[bytes]]:
        """What it has understood, and the statuses that it has answered with."""
        self._seen = []
        client = _Client()
        connection = ClientConnection(config=self._config, server_state=ServerState(), app_state={})
        connection.connection_made(client)
        for piece in pieces:
            if client.is_closing():
                break
            connection.data_received(piece)
            await asyncio.sleep(0)
        while connection.tasks and not client.is_closing() and connection.running is not None:
            before = len(client.taken)
            for _ in range(5):
                await asyncio.sleep(0)
            if len(client.taken) == before:
                break  # it waits for more
        connection.connection_lost(None)
        await asyncio.gather(*connection.tasks, return_exceptions=True)
        return self._seen, STATUS.findall(client.taken)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("bodies"))


def as_h11_reads_it(wire: bytes) -> list[Seen]:
    """The requests that it finds there, up to where it gives up."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=10_000)
    connection.receive_data(wire)
    connection.receive_data(b"")
    found: list[Seen] = []
    try:
        while isinstance(request := connection.next_event(), h11.Request):
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            found.append(Seen(request.method, request.target, without_case(request.headers), body))
            connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass
    return found


LINES = [
    *(b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: 5, 5"),
    *(
        b"content-length: 6",
        b"Content-Length:5",
        b"Content-Length : 5",
        b"Content-Length: 5 ",
        b"Content-Length:",
    ),
    *(
        b"Content-Length: 99999999999999999999",
        b"Content-Length: -1",
        b"Content-Length: 0",
        b"Content-Length: 0x5",
    ),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked"),
    *(
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding:\tchunked",
    ),
    *(b"Transfer-Encoding: xchunked", b"Transfer-Encoding: CHUNKED", b"transfer_encoding: chunked"),
    *(b"X-Folded: a\r\n b", b"X-Folded: a\r\n\tTransfer-Encoding: chunked", b" X: 1", b"X-Feed: a\nX-Two: b"),
    *(b"X-Return: a\rX-Two: b", b"X-Null: a\0b", b"X-Empty:", b"No colon", b": no name", b"X-Cut: a\r"),
    *(b"Connection: close", b"Connection: Content-Length", b"Expect: 100-continue"),
    *(b"Upgrade: h2c", b"Connection: Upgrade"),
]
BODIES = [
    *(b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n"),
    *(
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-1\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX0\r\n\r\n",
    ),
    *(
        b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b'5;a="\r\nb"\r\nhello\r\n0\r\n\r\n',
    ),
    *(b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n00\r\n\r\n", b"5;\nhello\r\n0\r\n\r\n"),
    *(b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: b\r\n\r\n", b"x" * (LIMIT + 1)),
]
FIRST = [
    *(
        b"GET /a HTTP/1.1",
        b"POST /v1/files?x=1 HTTP/1.1",
        b"POST /b HTTP/1.0",
        b"GET /a",
    ),
    *(b"get /a HTTP/1.1", b"GET /a HTTP/1.2", b"GET /a b HTTP/1.1"),
]
POST = b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
ENDS = some.sampled_from([b"\r\n"] * 9 + [b"\n"])


@some.composite
def requests(draw: some.DrawFn) -> bytes:
    lines = [draw(some.sampled_from(FIRST[:2] * 4 + FIRST)), b"Host: localhost"]
    lines += draw(some.lists(some.sampled_from(LINES), max_size=3))
    head = b"".join(line + draw(ENDS) for line in lines)
    return head + draw(ENDS) + draw(some.sampled_from(BODIES))


wires = some.lists(requests(), min_size=1, max_size=3).map(b"".join)


@settings(max_examples=120, deadline=None)
@given(wire=wires, cuts=some.lists(some.integers(min_value=0), max_size=12))
def test_how_requests_are_cut_into_pieces_changes_nothing(door: Door, wire: bytes, cuts: list[int]) -> None:
    assert asyncio.run(door.take(pieces_of(wire, cuts))) == asyncio.run(door.take([wire]))


@settings(max_examples=120, deadline=None)
@given(wire=wires)
@example(wire=b"%bTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n" % POST)
@example(wire=b"%bTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" % POST)
@example(wire=b"%bTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % POST)
@example(wire=b"GET /a\r\nHost: localhost\r\n\r\n")
def test_what_passes_means_the_same_to_another_parser(door: Door, wire: bytes) -> None:
    seen, statuses = asyncio.run(door.take([wire]))

    assert asyncio.run(door.take([wire])) == (seen, statuses)  # also when its head is known by now
    assert seen == as_h11_reads_it(wire)[: len(seen)]
