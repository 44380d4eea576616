"""Clients that leave, queues that are full, engines that fail: nobody else notices, and everybody is told."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.inference.conftest import TINY
from tests.inference.servers import Running, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inference.options import ServerOptions

DEADLINE_SECONDS = 20
ENDLESS: dict[str, Any] = {"model": TINY, "prompt": "On and on", "max_tokens": 1500, "ignore_eos": True}


@pytest.fixture
def server(tiny_options: ServerOptions) -> Iterator[Running]:
    """A server of its own, with room for two answers at once and two more in the queue."""
    models = replace(tiny_options.models, max_rows=2)
    with running(replace(tiny_options, models=models, max_waiting=2, api_key="secret")) as made:
        yield made


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def send(server: Running, **fields: Any) -> socket.socket:
    """A completion request on a raw socket, of which nothing is read."""
    body = json.dumps({**ENDLESS, **fields}).encode()
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)
    head = [
        "POST /v1/completions HTTP/1.1",
        "Host: x",
        "Authorization: Bearer secret",
        f"Content-Length: {len(body)}",
    ]
    connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    return connection


def occupied(server: Running) -> tuple[int, int]:
    backend = server.server.engine.backend
    return backend.running, backend.waiting


def is_occupied(server: Running, expected: tuple[int, int]) -> bool:
    return occupied(server) == expected


def post(server: Running, **fields: Any) -> httpx.Response:
    headers = {"Authorization": "Bearer secret"}
    return httpx.post(
        f"{server.url}/v1/completions",
        json={**ENDLESS, **fields},
        headers=headers,
        timeout=60,
        trust_env=False,
    )


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_row(server: Running, stream: bool) -> None:  # noqa: FBT001 -- a case
    connection = send(server, stream=stream)
    until(lambda: occupied(server) == (1, 0))
    connection.close()
    until(lambda: occupied(server) == (0, 0))


def test_a_client_that_leaves_the_queue_never_gets_a_row(server: Running) -> None:
    running_ones = [send(server, stream=True) for _ in range(2)]
    until(lambda: occupied(server) == (2, 0))
    queued = send(server)
    until(lambda: occupied(server) == (2, 1))
    queued.close()
    until(lambda: occupied(server) == (2, 0))
    for connection in running_ones:
        connection.close()
    until(lambda: occupied(server) == (0, 0))


def test_a_full_queue_is_said_at_once(server: Running) -> None:
    connections = []
    for expected in ((1, 0), (2, 0), (2, 1), (2, 2)):
        connections.append(send(server))
        until(partial(is_occupied, server, expected))
    response = post(server)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "overloaded"
    assert int(response.headers["retry-after"]) > 0
    for connection in connections:
        connection.close()
    until(lambda: occupied(server) == (0, 0))
    assert post(server, max_tokens=2).status_code == 200


@pytest.mark.parametrize(
    "fields", [{"n": 4}, {"prompt": ["a", "b", "c", "d"]}, {"prompt": ["a", "b"], "n": 2}]
)
def test_as_many_answers_as_can_run_and_wait_are_taken_at_once(
    server: Running, fields: dict[str, Any]
) -> None:
    answer = post(server, max_tokens=2, **fields)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == 4


@pytest.mark.parametrize(
    ("fields", "param", "given"),
    [
        ({"n": 5}, "n", "'n' is 5."),
        ({"prompt": ["a"] * 5}, "prompt", "There are 5 prompts, and 'n' is 1."),
        ({"prompt": ["a", "b"], "n": 3}, "prompt", "There are 2 prompts, and 'n' is 3."),
    ],
)
def test_more_answers_than_can_ever_be_taken_are_refused_for_good(
    server: Running, fields: dict[str, Any], param: str, given: str
) -> None:
    refused = post(server, **fields)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "invalid_value", param)
    assert "retry-after" not in refused.headers  # a client that is told to come back would
    assert "takes 4 at the most: 2 are generated at once, and 2 may wait" in error["message"]
    assert error["message"].endswith(given)


def test_places_that_are_taken_are_not_counted_twice(server: Running) -> None:
    connection = send(server)
    until(lambda: is_occupied(server, (1, 0)))
    refused = post(server, max_tokens=2, n=4)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert "3 answers would wait, and at most 2 may" in refused.json()["error"]["message"]
    assert post(server, max_tokens=2, n=3).status_code == 200
    connection.close()


def test_a_stop_string_frees_the_row_before_max_tokens(server: Running) -> None:
    text = post(server, max_tokens=12, temperature=0).json()["choices"][0]["text"]
    assert post(server, temperature=0, stop=text[3:7]).json()["usage"]["completion_tokens"] <= 12
    until(lambda: occupied(server) == (0, 0))


def test_without_the_key_only_health_answers(server: Running) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            response = client.get("/v1/models", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers["x-should-retry"] == "false"
            assert response.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("name", ["Authorization", "x-api-key"])
def test_a_key_may_be_any_text_and_its_scheme_in_any_case(tiny_options: ServerOptions, name: str) -> None:
    key = "schlüssel-鍵"
    with (
        running(replace(tiny_options, api_key=key)) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        schemes = ("Bearer ", "bearer ", "BEARER ") if name == "Authorization" else ("",)
        for scheme in schemes:
            headers = {name.encode(): f"{scheme}{key}".encode()}
            assert client.get("/v1/models", headers=headers).status_code == 200
        assert client.get("/v1/models", headers={name.encode(): f"Basic {key}".encode()}).status_code == 401


def stopped_while_streaming(server: Running, connection: socket.socket) -> bytes:
    """All that the client receives when the server is told to stop after the first byte."""
    assert connection.recv(1)
    server.server.should_exit = True
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_stopping_cuts_streams_with_an_error_event_and_refuses_new_requests(server: Running) -> None:
    with send(server, stream=True) as connection:
        received = stopped_while_streaming(server, connection)
    last_event = received.split(b"data: ")[-1]
    assert b'"code":"shutting_down"' in last_event
    assert b"[DONE]" not in received
    assert not received.endswith(b"0\r\n\r\n")  # no final chunk: nobody takes it for a whole answer


def test_a_short_answer_may_finish_while_the_server_stops(server: Running) -> None:
    with send(server, stream=True, max_tokens=40) as connection:
        received = stopped_while_streaming(server, connection)
    assert b"data: [DONE]" in received
