"""What a request finds out about an endpoint spares the next one the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.ports import free_port
from endpoints.health.breaker import FAULTS_TO_OPEN
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

PATH = "/v1/chat/completions"
REQUESTS = 10


@pytest.fixture
def pair(
    upstreams: Callable[..., FakeUpstream], table: Callable[..., None], client: httpx.Client
) -> tuple[FakeUpstream, FakeUpstream]:
    """Two endpoints that serve the same, in turns."""
    first, second = upstreams("m1"), upstreams("m1")
    table(target_for(first, number=1), target_for(second, number=2))
    return first, second


def endpoints_of(client: httpx.Client, count: int) -> list[tuple[int, str, str]]:
    found = [client.post(CHAT, json=chat_body()) for _ in range(count)]
    return [
        (each.status_code, each.headers["x-olla-endpoint"], each.headers["x-olla-attempts"]) for each in found
    ]


def test_a_refused_connection_costs_one_request_a_second_attempt_and_no_more(
    upstreams: Callable[..., FakeUpstream], table: Callable[..., None], client: httpx.Client
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    table(target_for(dead, number=1), target_for(upstreams("m1"), number=2))
    attempts = [attempts for _, _, attempts in endpoints_of(client, REQUESTS)]
    assert sorted(attempts) == ["1"] * (REQUESTS - 1) + ["2"]


def test_a_connection_that_breaks_takes_the_endpoint_out_for_the_next_request(
    pair: tuple[FakeUpstream, FakeUpstream], client: httpx.Client
) -> None:
    broken, _ = pair
    broken.answer(PATH, answers.raw(answers.RESET))
    assert {each[:2] for each in endpoints_of(client, REQUESTS)} == {(200, "mini-2")}
    assert len(broken.requests_for(PATH)) == 1


def test_an_endpoint_that_fails_again_and_again_is_left_to_its_siblings(
    pair: tuple[FakeUpstream, FakeUpstream], client: httpx.Client
) -> None:
    failing, _ = pair
    failing.answer(PATH, answers.error(500, "out of memory"))
    served = endpoints_of(client, 4 * FAULTS_TO_OPEN)
    assert len(failing.requests_for(PATH)) == FAULTS_TO_OPEN
    assert {each[:2] for each in served[2 * FAULTS_TO_OPEN :]} == {(200, "mini-2")}


def test_clients_that_leave_put_nothing_in_doubt(
    pair: tuple[FakeUpstream, FakeUpstream], client: httpx.Client
) -> None:
    for fake in pair:
        fake.answer(PATH, answers.raw(answers.STREAM_HEAD, answers.chunk(b"data: {}\n\n"), answers.HANG))
    for _ in range(2 * FAULTS_TO_OPEN):
        with client.stream("POST", CHAT, json=chat_body(stream=True)) as answer:
            next(answer.iter_raw())
    for fake in pair:
        fake.answer(PATH, answers.respond({}))
    assert {each[1] for each in endpoints_of(client, 4)} == {"mini-1", "mini-2"}


def test_the_only_endpoint_is_tried_again_and_again(
    upstream: FakeUpstream, table: Callable[..., None], client: httpx.Client
) -> None:
    table(target_for(upstream))
    upstream.answer(PATH, answers.error(500, "out of memory"))
    assert [each[0] for each in endpoints_of(client, 2 * FAULTS_TO_OPEN)] == [500] * (2 * FAULTS_TO_OPEN)
    upstream.answer(PATH, answers.respond({}))
    assert endpoints_of(client, 1)[0][0] == 200
