"""Streams: chunk by chunk, whole when they are whole, visibly cut when they are cut."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.fakes.answers import CLOSE, HANG, RESET, Gate
from tests.proxy.conftest import CHAT, chat_body, gateway_with, over_both_servers, target_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

pytestmark = over_both_servers

PATH = "/v1/chat/completions"
LAST_CHUNK = b"0\r\n\r\n"
EVENTS = [b'data: {"n": 1}\n\n', b'data: {"n": 2}\n\n', b'data: {"n": 3}\n\n']


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


def test_every_chunk_is_passed_on_before_the_next_is_made(served: Served, upstream: FakeUpstream) -> None:
    gate = Gate()
    upstream.answer(PATH, answers.sse(EVENTS, between=gate))

    with raw_client(served.port) as client:
        client.post(stream=True)
        assert b"transfer-encoding: chunked" in client.read_until(b'{"n": 1}').lower()
        gate.open()
        client.read_until(b'{"n": 2}')
        gate.open()
        client.read_until(LAST_CHUNK)


def test_the_headers_of_a_stream_come_before_its_first_chunk(served: Served, upstream: FakeUpstream) -> None:
    gate = Gate()
    upstream.answer(
        PATH, answers.raw(answers.STREAM_HEAD, gate, answers.chunk(EVENTS[0]), answers.LAST_CHUNK)
    )

    with raw_client(served.port) as client:
        client.post(stream=True)
        head = client.read_until(b"\r\n\r\n").lower()
        gate.open()
        client.read_until(LAST_CHUNK)

    assert b"content-type: text/event-stream; charset=utf-8\r\n" in head
    assert b"cache-control: no-cache\r\n" in head
    assert b"x-accel-buffering: no\r\n" in head
    assert b"x-olla-endpoint: mini-1\r\n" in head


def test_a_prompt_counts_as_read_with_the_first_chunk_and_not_with_the_head(
    serve: Callable[[Gateway], Served], table: Table, upstream: FakeUpstream
) -> None:
    served = serve(gateway_with(balancer="cache-aware"))
    table(target_for(upstream), target_for(upstream, number=2))
    gate = Gate()
    upstream.answer(
        PATH, answers.raw(answers.STREAM_HEAD, gate, answers.chunk(EVENTS[0]), gate, answers.LAST_CHUNK)
    )
    loads = served.gateway.router.loads

    with raw_client(served.port) as client:
        client.post(stream=True)
        client.read_until(b"\r\n\r\n")
        unread = loads.of(1).unread + loads.of(2).unread
        gate.open()
        client.read_until(b'{"n": 1}')
        unread_then = loads.of(1).unread + loads.of(2).unread
        gate.open()
        client.read_until(LAST_CHUNK)

    assert unread > 0
    assert unread_then == 0


def test_a_stream_passes_byte_for_byte(client: httpx.Client, upstream: FakeUpstream) -> None:
    events = answers.chat_events("m1", ["Hel", "lo ", "\u00e9"])
    at_once = answers.STREAM_HEAD + b"".join(map(answers.chunk, events)) + answers.LAST_CHUNK

    upstream.answer(PATH, answers.raw(at_once))
    answer = client.post(CHAT, json=chat_body(stream=True))

    assert answer.content == b"".join(events)
    assert "content-length" not in answer.headers
    assert upstream.requests[0].header("accept-encoding") == "identity"


@pytest.mark.parametrize(
    "end", [[RESET], [CLOSE], [b"this is no chunk\r\n", HANG]], ids=["reset", "eof", "garbage"]
)
def test_a_stream_that_breaks_ends_with_an_error_and_without_the_last_chunk(
    served: Served, upstream: FakeUpstream, end: list[answers.Step]
) -> None:
    upstream.answer(PATH, answers.sse(EVENTS, end=end))

    with raw_client(served.port) as client:
        client.post(stream=True)
        wire = client.read_to_close()

    assert EVENTS[0] in wire
    assert b'"code":"upstream_disconnected"' in wire
    assert not wire.endswith(LAST_CHUNK)


def test_the_error_event_stands_alone_after_half_an_event(served: Served, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.sse([b'data: {"n": 1}\n\n', b'data: {"n'], end=[CLOSE]))

    with raw_client(served.port) as client:
        client.post(stream=True)
        wire = client.read_to_close()

    _, _, event = wire.rpartition(b"\n\ndata: ")
    error = json.loads(event.partition(b"\n\n")[0])["error"]
    assert error["code"] == "upstream_disconnected"
    assert error["message"].startswith("mini-1 closed the connection before its answer was whole.")


def test_a_stream_that_stalls_is_cut_while_it_stalls(
    served: Served, upstream: FakeUpstream, table: Table
) -> None:
    table(target_for(upstream, idle_timeout_seconds=0.2))
    upstream.answer(PATH, answers.sse(EVENTS, end=[HANG]))

    started = time.monotonic()
    with raw_client(served.port) as client:
        client.post(stream=True)
        wire = client.read_to_close()

    assert b'"code":"upstream_idle_timeout"' in wire
    assert not wire.endswith(LAST_CHUNK)
    assert 0.2 <= time.monotonic() - started < 5
    upstream.wait_for_departure()


def test_a_long_answer_that_breaks_is_shorter_than_its_length(served: Served, upstream: FakeUpstream) -> None:
    head = answers.head(200, {"Content-Type": "application/json", "Content-Length": 1_000_000})
    upstream.answer(PATH, answers.raw(head, b"x" * 300_000, RESET))

    with raw_client(served.port) as client:
        client.post()
        wire = client.read_to_close()

    head_seen, _, body = wire.partition(b"\r\n\r\n")
    assert b"content-length: 1000000" in head_seen.lower()
    assert len(body) < 1_000_000


@pytest.mark.parametrize(("end", "code"), [([answers.LAST_CHUNK], 0), ([RESET], 18)], ids=["whole", "cut"])
def test_curl_can_tell_a_cut_stream_from_a_whole_one(
    served: Served, upstream: FakeUpstream, end: list[answers.Step], code: int
) -> None:
    upstream.answer(PATH, answers.sse(EVENTS, end=end))

    command = ["curl", "-sN", served.url + CHAT, "-H", "content-type: application/json"]
    done = subprocess.run(
        [*command, "-d", json.dumps(chat_body(stream=True))], capture_output=True, check=False
    )

    assert done.returncode == code
    assert EVENTS[0] in done.stdout


def test_a_cut_stream_is_not_logged_as_an_error_of_ours(
    served: Served, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.answer(PATH, answers.sse(EVENTS, end=[RESET]))

    with raw_client(served.port) as client:
        client.post(stream=True)
        client.read_to_close()

    assert "broke off in the middle of its answer" in caplog.text
    assert "ASGI callable returned" not in caplog.text


def test_a_cut_stream_counts_as_a_failure(served: Served, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.sse(EVENTS, end=[RESET]))

    with raw_client(served.port) as client:
        client.post(stream=True)
        client.read_to_close()

    tally = served.tally_of(1)
    assert (tally.requests, tally.failures, tally.successes, tally.in_flight) == (1, 1, 0, 0)


def test_a_slow_client_slows_the_backend_down(served: Served, upstream: FakeUpstream) -> None:
    offered = 64 * 2**20
    sent = 0

    def endless(request: answers.SeenRequest) -> Iterator[answers.Step]:
        nonlocal sent
        for step in answers.flood(pieces=offered // 65536)(request):
            sent += len(step) if isinstance(step, bytes) else 0
            yield step

    upstream.answer(PATH, endless)
    with raw_client(served.port) as client:
        client.post(stream=True)
        client.read_until(b"data: ")
        # The client reads no more. What has not settled after a second of reading nothing is not bounded.
        before = -1
        while sent != before:
            before = sent
            time.sleep(0.5)
        assert sent < offered / 2
        client.leave()

    upstream.wait_for_departure()


def test_a_backend_that_answers_until_it_closes_is_passed_whole(
    client: httpx.Client, upstream: FakeUpstream
) -> None:
    upstream.answer(
        PATH, answers.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"all of it", CLOSE)
    )

    answer = client.post(CHAT, json=chat_body())

    assert answer.text == "all of it"
