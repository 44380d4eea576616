"""What a client may write on its connection, and what it reads there, byte by byte."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.fakes.answers import Gate
from tests.proxy.conftest import CHAT, Served, gateway_with, listening, target_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.wire import RawClient

    Table = Callable[..., None]

PATH = "/v1/chat/completions"
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


@pytest.fixture
def raw(served: Served) -> Iterator[RawClient]:
    with raw_client(served.port) as made:
        yield made


def error_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nconnection: close\r\n" in head + b"\r\n"
    code: str = json.loads(body)["error"]["code"]
    return code


@pytest.mark.parametrize(
    "headers",
    [b"X-Big: " + b"x" * 70_000, b"\r\n".join(b"X-Many-%d: 1" % number for number in range(201))],
    ids=["too long", "too many"],
)
def test_absurd_headers_are_refused(raw: RawClient, headers: bytes) -> None:
    raw.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n")

    answer = raw.read_to_close()

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert error_of(answer) == "headers_too_large"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Name: a\x00b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nContent Length: 3\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused(raw: RawClient, request_bytes: bytes) -> None:
    raw.send(request_bytes)

    answer = raw.read_to_close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert error_of(answer) == "invalid_request"


def test_rubbish_behind_a_request_does_not_get_into_its_answer(
    raw: RawClient, upstream: FakeUpstream
) -> None:
    gate = Gate()
    upstream.answer(PATH, answers.respond({"whole": True}, before=[gate]))
    raw.post()
    raw.send(b"nonsense\r\n\r\n")
    upstream.wait_for_requests(1)
    gate.open()

    first, second = raw.read_to_close().split(b"HTTP/1.1 400 ")

    assert first.startswith(b"HTTP/1.1 200 ")
    assert first.endswith(b'{"whole": true}')
    assert b"invalid_request" in second


def test_an_answer_arrives_although_the_request_is_still_on_its_way(raw: RawClient) -> None:
    raw.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n".encode())
    raw.send(b"x" * 1_000_000)

    answer = raw.read_to_close()

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert error_of(answer) == "request_too_large"


def test_requests_sent_ahead_are_answered_in_their_order(raw: RawClient) -> None:
    paths = ["livez", "nothing", "version"] * 10
    for path in paths:
        raw.send(
            f"GET /v1/models/{path} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {path}\r\n\r\n".encode()
        )
    raw.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    answer = raw.read_to_close()

    assert re.findall(rb"\r\nx-request-id: (livez|nothing|version)\r\n", answer) == [
        path.encode() for path in paths
    ]


def test_a_client_that_leaves_with_requests_sent_ahead_frees_the_upstream(
    raw: RawClient, upstream: FakeUpstream
) -> None:
    upstream.answer(PATH, answers.raw(answers.HANG))
    raw.post()
    upstream.wait_for_requests(1)
    raw.send(LIVE * 3)
    raw.leave()

    upstream.wait_for_departure(seconds=1)


def test_an_old_client_gets_no_chunks(raw: RawClient, upstream: FakeUpstream) -> None:
    events = answers.chat_events("m1", ["Hello"])
    upstream.answer(PATH, answers.sse(events))
    body = b'{"model": "m1", "stream": true, "stream_options": {"include_usage": true}}'
    raw.send(
        b"POST %b HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body))
        + body
    )

    head, _, rest = raw.read_to_close().partition(b"\r\n\r\n")

    assert b"transfer-encoding" not in head
    assert rest == b"".join(events)


def test_a_client_that_waits_for_leave_to_send_gets_it(raw: RawClient, upstream: FakeUpstream) -> None:
    body = b'{"model": "m1"}'
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {len(body)}"
    raw.send(head.encode() + b"\r\n\r\n")
    assert raw.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.send(body)

    assert raw.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert upstream.requests[0].header("expect") is None


def test_a_client_that_would_wait_in_vain_is_told_at_once(raw: RawClient) -> None:
    raw.send(
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        "Content-Length: 999999999\r\n\r\n".encode()
    )

    assert raw.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")


# As Java's HTTP client and `curl --http2` send their first request to a server that may speak HTTP/2.
WISH = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"


@pytest.mark.parametrize("size", [10_000, 150, 1], ids=["whole", "two pieces", "every byte"])
def test_a_wish_for_http_2_is_passed_over_and_the_body_is_not(
    raw: RawClient, upstream: FakeUpstream, size: int
) -> None:
    body = json.dumps({"model": "m1", "messages": [], "note": "GET /hidden HTTP/1.1\r\n\r\n"}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()

    for wish in (WISH, WISH, b""):
        request = head + wish + b"\r\n" + body
        for start in range(0, len(request), size):
            raw.send(request[start : start + size])
        assert raw.read_until(b"}]").startswith(b"HTTP/1.1 200 ")

    seen = upstream.wait_for_requests(3)
    assert {request.path for request in seen} == {PATH}
    assert {request.json()["note"] for request in seen} == {"GET /hidden HTTP/1.1\r\n\r\n"}
    sent_on = {name.lower() for request in seen for name, _ in request.headers}
    assert not sent_on & {b"upgrade", b"http2-settings"}


def test_requests_behind_such_a_wish_are_answered(raw: RawClient) -> None:
    raw.send(LIVE.replace(b"\r\n\r\n", b"\r\n" + WISH + b"\r\n") + LIVE)
    first = raw.read_until(b"}")
    raw.send(LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert (first + raw.read_to_close()).count(b"HTTP/1.1 200 ") == 3


@pytest.mark.parametrize("target", [b"example.org:443", b"/livez", b"http://localhost/livez", b"*"])
@pytest.mark.parametrize("length", [b"", b"Content-Length: 3\r\n", WISH])
@pytest.mark.parametrize("size", [10_000, 1], ids=["whole", "every byte"])
def test_a_tunnel_is_refused_and_what_was_meant_for_it_is_no_request(
    raw: RawClient, target: bytes, length: bytes, size: int
) -> None:
    sent = LIVE + b"CONNECT " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n" + LIVE
    for start in range(0, len(sent), size):
        raw.send(sent[start : start + size])

    before, refusal = raw.read_to_close().split(b"HTTP/1.1 501 ")

    assert before.count(b"HTTP/1.1 200 ") == 1
    assert b"\r\nconnection: close\r\n" in refusal
    assert error_of(b"HTTP/1.1 501 " + refusal) == "connect_not_supported"
    assert b"HTTP/1.1" not in refusal


@pytest.fixture
def impatient(upstream: FakeUpstream) -> Iterator[tuple[Gateway, int]]:
    """A gateway that keeps connections for a second, and its port. Its endpoint's streams have no end."""
    upstream.answer(PATH, answers.flood())
    gateway = gateway_with()
    with listening(keep_alive_seconds=1) as server, server.serving(gateway) as port:
        yield gateway, port


def test_who_reads_nothing_more_is_taken_for_gone(
    impatient: tuple[Gateway, int], upstream: FakeUpstream
) -> None:
    """Its place at the endpoint is for others. A program that is stopped keeps its connection for ever."""
    with raw_client(impatient[1]) as stopped:
        stopped.post(stream=True)
        stopped.read_until(b"data: ")

        upstream.wait_for(lambda seen: bool(seen.departures))

        assert Served(*impatient).tally_of(1).failures == 0


@pytest.mark.parametrize("path", [CHAT, "/livez"])
def test_who_sends_no_more_of_a_request_is_not_waited_for(impatient: tuple[Gateway, int], path: str) -> None:
    with raw_client(impatient[1]) as stopped:
        stopped.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode())

        stopped.read_to_close()


def test_who_sends_slowly_is(impatient: tuple[Gateway, int], upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.chat)
    body = json.dumps({"model": "m1", "messages": [], "padding": " " * 20}).encode()
    with raw_client(impatient[1]) as slow:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        slow.send(head.encode())
        for byte in body:
            slow.send(bytes([byte]))
            time.sleep(4 / len(body))

        assert slow.read_until(b"\r\n").startswith(b"HTTP/1.1 200 ")


def test_who_reads_slowly_is_not(impatient: tuple[Gateway, int], upstream: FakeUpstream) -> None:
    with raw_client(impatient[1]) as slow:
        slow.post(stream=True)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert slow.socket.recv(2**20)
            time.sleep(0.02)

        assert not upstream.departures
