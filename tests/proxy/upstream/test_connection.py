"""Answers cut into arbitrary pieces: where the pieces end changes nothing, and a part is never the whole."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.connection import Connection, Timeouts
from proxy.upstream.wire_errors import WireError


class _Wire(asyncio.Transport):
    """Takes what the connection sends and gives it nothing by itself."""

    def write(self, data: object) -> None:
        """Into the void."""

    def abort(self) -> None:
        """Nothing to close."""

    def pause_reading(self) -> None:
        """The test feeds it anyway."""

    def resume_reading(self) -> None:
        """See above."""


async def outcome(pieces: list[bytes], *, ends: bool) -> tuple[object, ...]:
    """What comes of an answer that arrives in these pieces: status, headers, body, or the error's class."""
    connection = Connection(asyncio.get_running_loop(), lambda _connection: None)
    connection.connection_made(_Wire())

    async def use() -> tuple[object, ...]:
        try:
            await connection.exchange(b"GET", b"", timeouts=Timeouts(5, 5, 5, 5))
            body = b""
            while data := await connection.read(5):
                body += data
        except WireError as error:
            return (type(error),)
        return (connection.status, tuple(connection.headers), body)

    task = asyncio.create_task(use())
    await asyncio.sleep(0)
    for piece in pieces:
        connection.data_received(piece)
        await asyncio.sleep(0)
    if ends:
        connection.connection_lost(None)
    return await task


def pieces_of(wire: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    return [wire[start:end] for start, end in pairwise(places)]


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: b\r\n\r\nhello world",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\nX-T: t\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n"
    b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
]


@settings(max_examples=150, deadline=None)
@given(wire=st.sampled_from(ANSWERS), cuts=st.lists(st.integers(min_value=0), max_size=12))
def test_how_an_answer_is_cut_into_pieces_changes_nothing(wire: bytes, cuts: list[int]) -> None:
    assert asyncio.run(outcome(pieces_of(wire, cuts), ends=True)) == asyncio.run(outcome([wire], ends=True))


@settings(max_examples=150, deadline=None)
@given(
    wire=st.sampled_from([answer for answer in ANSWERS if b"HTTP/1.0" not in answer]),
    keep=st.integers(min_value=0, max_value=10_000),
)
def test_a_part_of_an_answer_is_never_taken_for_the_whole(wire: bytes, keep: int) -> None:
    part = wire[: keep % len(wire)]

    assert asyncio.run(outcome([part] if part else [], ends=True))[0] in WireError.__subclasses__()


@settings(max_examples=200, deadline=None)
@given(noise=st.lists(st.binary(min_size=1, max_size=200), max_size=5))
def test_noise_is_an_error_and_nothing_worse(noise: list[bytes]) -> None:
    assert asyncio.run(outcome(noise, ends=True))[0] in WireError.__subclasses__()
