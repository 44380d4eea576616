"""The transport against a hostile server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from proxy.upstream.transport import Transport, WholeBody
from tests.fakes import answers
from tests.fakes.answers import CLOSE, HANG, RESET
from tests.proxy.asking import ask, closed, transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from tests.fakes.upstream import FakeUpstream

    Upstreams = Callable[..., FakeUpstream]


def in_turn(replies: Iterator[answers.Answer]) -> answers.Answer:
    def next_one(request: answers.SeenRequest) -> Iterable[answers.Step]:
        return next(replies)(request)

    return next_one


async def test_a_connection_is_used_again(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.respond({"n": 1}))
    async with transport() as over:
        for _ in range(3):
            assert (await ask(over, upstream)).json() == {"n": 1}

    assert upstream.accepted_connections == 1


async def test_it_serves_an_httpx_client(upstream: FakeUpstream) -> None:
    async with httpx.AsyncClient(transport=Transport(), base_url=upstream.url) as client:
        answer = await client.post("/v1/chat/completions", json={"model": "m1"})
        lines = [line async for line in (await client.get("/v1/models")).aiter_lines()]

    assert answer.json()["model"] == "m1"
    assert lines


async def test_a_connection_that_was_closed_while_idle_is_not_used(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.respond({}))
    async with transport() as over:
        await ask(over, upstream)
        upstream.close_idle()
        await closed(over)

        assert (await ask(over, upstream, method="POST", body=b"x")).status_code == 200

    assert len(upstream.requests) == 2


async def test_bytes_on_an_idle_connection_close_it(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.respond({}))
    async with transport() as over:
        await ask(over, upstream)
        upstream.write_to_idle(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await closed(over)

        assert (await ask(over, upstream)).json() == {}


async def test_an_old_idle_connection_is_closed(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.respond({}))
    async with transport(keep_alive_seconds=0.05) as over:
        await ask(over, upstream)
        await closed(over)


@pytest.mark.parametrize("end", [RESET, CLOSE], ids=["reset", "closed"])
async def test_a_stale_connection_is_replaced_once(upstream: FakeUpstream, end: answers.Act) -> None:
    """The server closes as our next request is on its way: it never read it, so it is sent again."""
    replies = iter([answers.respond({}), answers.raw(end), answers.respond({"fresh": True})])
    upstream.answer("/x", in_turn(replies))
    async with transport() as over:
        await ask(over, upstream)

        assert (await ask(over, upstream, method="PUT", body=b"x")).json() == {"fresh": True}

    assert upstream.accepted_connections == 2


async def test_what_must_not_be_sent_twice_goes_over_a_fresh_connection(upstream: FakeUpstream) -> None:
    """On an idle one that closes as it is sent, nobody could know whether it was acted on."""
    upstream.answer("/x", answers.respond({}))
    async with transport() as over:
        await ask(over, upstream)
        await ask(over, upstream, method="POST", body=b"x")

    assert [request.connection for request in upstream.requests] == [1, 2]


async def test_a_fresh_connection_is_never_replaced(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.raw(CLOSE))
    async with transport() as over:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(over, upstream, method="POST", body=b"x")

    assert len(upstream.requests) == 1


async def test_a_reused_connection_that_has_answered_is_never_replaced(upstream: FakeUpstream) -> None:
    replies = iter([answers.respond({}), answers.raw(b"HTTP/1.1 200", CLOSE)])
    upstream.answer("/x", in_turn(replies))
    async with transport() as over:
        await ask(over, upstream)
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(over, upstream, method="PUT", body=b"x")

    assert len(upstream.requests) == 2


async def test_what_follows_an_answer_unasked_spoils_the_connection_only(upstream: FakeUpstream) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    upstream.answer("/x", answers.raw(whole + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"))
    async with transport() as over:
        for _ in range(2):
            assert (await ask(over, upstream)).content == b"{}"

    assert upstream.accepted_connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
    ],
)
async def test_an_answer_that_is_not_whole_is_an_error(upstream: FakeUpstream, answer: bytes) -> None:
    upstream.answer("/x", answers.raw(answer, CLOSE))
    async with transport() as over:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(over, upstream)
        await closed(over)


async def test_endless_interim_answers_end(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.raw(*[b"HTTP/1.1 100 Continue\r\n\r\n" * 1000] * 10, HANG))
    async with transport() as over:
        with pytest.raises(httpx.RemoteProtocolError, match="larger than"):
            await ask(over, upstream)


async def test_a_server_that_answers_before_it_has_read_all_is_heard(upstreams: Upstreams) -> None:
    async with refusing_server() as url, transport() as over:
        request = httpx.Request(
            "POST", url, headers=[("content-length", "50000000")], stream=WholeBody(b"x" * 50_000_000)
        )
        response = await over.handle_async_request(request)
        assert response.status_code == 413
        await response.aclose()
        await closed(over)


@asynccontextmanager
async def refusing_server() -> AsyncIterator[str]:
    """Answers 413 after the first bytes and reads no more."""
    finished = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answers.head(413, {"Content-Length": 0}))
        await writer.drain()
        await finished.wait()
        writer.transport.abort()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        finished.set()
        server.close()
        await server.wait_closed()


async def test_closing_an_answer_frees_the_upstream_at_once(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.flood())
    async with transport() as over:
        response = await over.handle_async_request(httpx.Request("GET", upstream.url + "/x"))
        await response.aclose()
        await asyncio.to_thread(upstream.wait_for_departure)


async def test_cancelling_a_request_frees_the_upstream(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.raw(HANG))
    async with transport() as over:
        task = asyncio.create_task(ask(over, upstream))
        await asyncio.to_thread(upstream.wait_for_requests, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(upstream.wait_for_departure)


async def test_no_more_is_read_than_the_reader_takes(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.flood())
    async with transport() as over:
        response = await over.handle_async_request(httpx.Request("GET", upstream.url + "/x"))
        connection = next(iter(over._origins))
        sizes = []
        for _ in range(10):
            await asyncio.sleep(0.02)
            sizes.append(connection.buffered)
        await response.aclose()

    assert max(sizes) < 1024 * 1024


@pytest.mark.parametrize("header", [("x-a", "b\r\nx-evil: 1"), ("x-a", "b\nc"), ("x-a\r\nx-evil", "1")])
async def test_a_line_break_in_a_header_is_never_sent(
    upstream: FakeUpstream, header: tuple[str, str]
) -> None:
    async with transport() as over:
        request = httpx.Request("GET", upstream.url + "/x", headers=[header])
        with pytest.raises(httpx.LocalProtocolError):
            await over.handle_async_request(request)

    assert not upstream.requests


async def test_closing_an_answer_twice_frees_its_connection_once(upstream: FakeUpstream) -> None:
    upstream.answer("/x", answers.respond({}))
    async with transport() as over:
        answer = await ask(over, upstream)
        await answer.stream.aclose()  # type: ignore[union-attr]

        taken = [over._take_idle(origin) for origin in list(over._idle) for _ in range(2)]

    assert taken[0] is not None
    assert taken[1] is None
