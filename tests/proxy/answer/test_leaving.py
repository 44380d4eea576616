"""A client that leaves, at any moment, frees the upstream at once and counts against nobody."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.fakes import answers
from tests.fakes.answers import HANG
from tests.proxy.conftest import CHAT, gateway_with, over_both_servers, target_for
from tests.proxy.waiting import wait_for
from tests.proxy.wire import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.gateway import Gateway
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

pytestmark = over_both_servers

PATH = "/v1/chat/completions"
PROMPT_SECONDS = 2.0  # it takes milliseconds; the upstream would hold for ever what is not cancelled

HALF = answers.head(200, {"Content-Type": "application/json", "Content-Length": 1000}) + b"x" * 10


@pytest.fixture(autouse=True)
def _one_endpoint(table: Table, upstream: FakeUpstream) -> None:
    table(target_for(upstream))


def departed(upstream: FakeUpstream, left_at: float) -> float:
    """How long after the client the upstream's connection closed, in seconds."""
    return upstream.wait_for_departure() - left_at


@pytest.mark.parametrize(
    "answer",
    [
        answers.raw(HANG),
        answers.raw(b"HTTP/1.1 200 OK\r\nContent-", HANG),
        answers.raw(HALF, HANG),
    ],
    ids=["before the head", "in the head", "in a plain body"],
)
def test_leaving_before_the_answer_frees_the_upstream(
    served: Served, upstream: FakeUpstream, answer: answers.Answer
) -> None:
    upstream.answer(PATH, answer)
    with raw_client(served.port) as client:
        client.post()
        upstream.wait_for_requests(1)
        left_at = time.monotonic()
        client.leave()

    assert departed(upstream, left_at) < PROMPT_SECONDS


def test_leaving_in_the_middle_of_a_stream_frees_the_upstream(served: Served, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.sse([b"data: 1\n\n"], end=[HANG]))
    with raw_client(served.port) as client:
        client.post(stream=True)
        client.read_until(b"data: 1")
        left_at = time.monotonic()
        client.leave()

    assert departed(upstream, left_at) < PROMPT_SECONDS


def test_leaving_a_flood_frees_the_upstream(served: Served, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.flood())
    with raw_client(served.port) as client:
        client.post(stream=True)
        client.read_until(b"data: ")
        left_at = time.monotonic()
        client.leave()

    assert departed(upstream, left_at) < PROMPT_SECONDS


def test_leaving_while_uploading_reaches_no_upstream(served: Served, upstream: FakeUpstream) -> None:
    with raw_client(served.port) as client:
        client.send(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{".encode())
        client.leave()
    with raw_client(served.port) as other:
        other.post()
        other.read_until(b"MLX is fast.")

    assert len(upstream.requests) == 1
    assert served.gateway.records.of(1).requests == 1


def test_leaving_counts_neither_as_success_nor_as_failure(served: Served, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.sse([b"data: 1\n\n"], end=[HANG]))
    for _ in range(5):
        with raw_client(served.port) as client:
            client.post(stream=True)
            client.read_until(b"data: 1")
    upstream.wait_for(lambda fake: len(fake.departures) == 5 and not fake.open_connections)

    tally = served.tally_of(1)
    assert (tally.requests, tally.successes, tally.failures, tally.in_flight) == (5, 0, 0, 0)


def test_who_leaves_before_the_answer_is_counted_where_the_request_had_gone(
    served: Served, upstream: FakeUpstream
) -> None:
    upstream.answer(PATH, answers.raw(HANG))
    counts = served.gateway.records._meter.pending
    with raw_client(served.port) as client:
        client.post()
        upstream.wait_for_requests(1)
    upstream.wait_for_departure()

    wait_for(lambda: counts.requests == 1)
    (of_model,) = counts.models.values()
    assert (of_model.requests, of_model.successes, of_model.failures) == (1, 0, 0)
    assert (counts.disconnects, counts.failovers) == (1, 0)


def test_nobody_waits_for_the_prompt_of_a_client_that_has_left(
    serve: Callable[[Gateway], Served], table: Table, upstream: FakeUpstream
) -> None:
    served = serve(gateway_with(balancer="cache-aware"))
    table(target_for(upstream), target_for(upstream, number=2))
    upstream.answer(PATH, answers.raw(HANG))
    with raw_client(served.port) as client:
        client.post(stream=True)
        upstream.wait_for_requests(1)
        loads = [served.gateway.router.loads.of(number) for number in (1, 2)]
        assert sum(load.unread for load in loads) > 0
    upstream.wait_for_departure()

    wait_for(lambda: sum(load.unread for load in loads) == 0)


def test_after_a_client_has_left_the_next_one_is_served(served: Served, upstream: FakeUpstream) -> None:
    upstream.answer(PATH, answers.raw(HANG))
    with raw_client(served.port) as client:
        client.post()
        upstream.wait_for_requests(1)
    upstream.wait_for_departure()
    upstream.answer(PATH, answers.chat)

    with raw_client(served.port) as client:
        client.post()
        assert b" 200 OK" in client.read_until(b"MLX is fast.")


@pytest.mark.parametrize("size", [70_000, 200_000])
def test_leaving_after_a_long_prompt_frees_the_upstream(
    served: Served, upstream: FakeUpstream, size: int
) -> None:
    upstream.answer(PATH, answers.raw(HANG))
    with raw_client(served.port) as client:
        client.post(messages=[{"role": "user", "content": "x" * size}])
        upstream.wait_for_requests(1)
        left_at = time.monotonic()
        client.leave()

    assert departed(upstream, left_at) < PROMPT_SECONDS
