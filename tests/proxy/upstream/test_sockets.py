"""Requests to endpoints at Unix sockets, through a whole gateway."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ollaproject.wire.socket_urls import written
from tests.fakes import answers
from tests.fakes.full_queue import full_queue, on_linux
from tests.proxy.conftest import CHAT, chat_body, over_both_servers, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]
    Prepare = Callable[[Path], object]

PATH = "/v1/chat/completions"
ANY = "/olla/vllm-mlx/v1/anything"


@pytest.fixture
def here(upstreams: Upstreams, socket_path: Path) -> FakeUpstream:
    """An upstream at a socket."""
    return upstreams(socket_path=socket_path)


@over_both_servers
def test_a_request_and_its_answer(client: httpx.Client, here: FakeUpstream, table: Table) -> None:
    table(target_for(here))

    got = client.post(CHAT, json=chat_body())

    assert got.status_code == 200
    assert got.headers["x-olla-endpoint"] == "mini-1"
    (request,) = here.requests
    assert (request.path, request.header("host")) == (PATH, "localhost")


@over_both_servers
def test_a_stream(client: httpx.Client, here: FakeUpstream, table: Table) -> None:
    table(target_for(here))

    with client.stream("POST", CHAT, json=chat_body(stream=True)) as got:
        lines = list(got.iter_lines())

    assert lines[-2:] == ["data: [DONE]", ""]


def test_a_large_body_goes_both_ways(client: httpx.Client, here: FakeUpstream, table: Table) -> None:
    here.answer("/v1/embeddings", answers.respond({"data": "y" * 3_000_000}))
    table(target_for(here))

    got = client.post("/v1/embeddings", json={"model": "m1", "input": "x" * 900_000})

    assert len(got.json()["data"]) == 3_000_000
    assert len(here.requests[0].json()["input"]) == 900_000


def test_a_path_before_the_requests_own(client: httpx.Client, here: FakeUpstream, table: Table) -> None:
    here.answer(f"/llm{PATH}", answers.chat)
    table(target_for(f"{here.url}/llm", preserve_path=True))

    assert client.post(CHAT, json=chat_body()).status_code == 200


def test_a_client_that_leaves_frees_the_server_behind_the_socket(
    client: httpx.Client, here: FakeUpstream, table: Table
) -> None:
    here.answer(PATH, answers.raw(answers.head(200, {"Content-Type": "text/event-stream"}), answers.HANG))
    table(target_for(here))

    with client.stream("POST", CHAT, json=chat_body(stream=True)):
        here.wait_for_requests(1)

    here.wait_for_departure()


def test_connections_are_used_again_and_not_once_they_are_stale(
    client: httpx.Client, served: Served, here: FakeUpstream, table: Table
) -> None:
    table(target_for(here))
    transport = served.gateway.upstream.transport

    for _ in range(3):
        assert client.get(ANY).status_code == 404
    assert here.accepted_connections == 1

    here.stop()
    here.start()
    assert client.get(ANY).status_code == 404
    assert here.accepted_connections == 2
    assert transport.open_connections == 1


def test_two_sockets_share_no_connections(
    client: httpx.Client, upstreams: Upstreams, table: Table, socket_path: Path
) -> None:
    one, two = upstreams(socket_path=socket_path), upstreams(socket_path=socket_path.with_name("t.sock"))
    table(target_for(one, number=1), target_for(two, number=2))

    seen = {client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] for _ in range(4)}

    assert seen == {"mini-1", "mini-2"}
    assert (len(one.requests), len(two.requests)) == (2, 2)


def leave_over(path: Path, *, mode: int = 0o600) -> None:
    """A socket's file as a server leaves it that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    path.chmod(mode)


@over_both_servers
@pytest.mark.parametrize("prepare", [Path.exists, leave_over], ids=["missing", "refusing"])
def test_the_next_endpoint_answers_when_nobody_does_at_the_socket(
    client: httpx.Client, upstream: FakeUpstream, table: Table, socket_path: Path, prepare: Prepare
) -> None:
    prepare(socket_path)
    table(target_for(written(str(socket_path)), number=1, priority=100), target_for(upstream, number=2))

    got = client.post(CHAT, json=chat_body())

    assert (got.status_code, got.headers["x-olla-endpoint"]) == (200, "mini-2")
    assert got.headers["x-olla-attempts"] == "2"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (Path.exists, "has no socket at its path"),
        (leave_over, "refused the connection"),
        pytest.param(
            partial(leave_over, mode=0),
            "may not be connected to by this process",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may connect to every socket"),
        ),
    ],
    ids=["missing", "refusing", "forbidden"],
)
def test_the_client_is_told_why(
    client: httpx.Client, table: Table, socket_path: Path, prepare: Prepare, reason: str
) -> None:
    prepare(socket_path)
    table(target_for(written(str(socket_path))))

    got = client.post(CHAT, json=chat_body())

    assert got.status_code in (502, 503)
    assert f"mini-1 {reason}" in got.json()["error"]["message"]


@on_linux
@over_both_servers
def test_a_server_that_accepts_nobody_is_left_in_time(
    client: httpx.Client, upstream: FakeUpstream, table: Table, socket_path: Path
) -> None:
    first = target_for(written(str(socket_path)), priority=100, connect_timeout_seconds=0.2)
    table(first, target_for(upstream, number=2))

    with full_queue(socket_path):
        got = client.post(CHAT, json=chat_body())

    assert got.headers["x-olla-endpoint"] == "mini-2"
