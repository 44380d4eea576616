"""Requests for a model whose endpoint is asleep."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from endpoints.choices import Status
from ollaproject.wire import clock
from proxy.routing.waking import COMMENT, Waking
from tests.fakes import answers
from tests.proxy.conftest import CHAT, chat_body, gateway_with, target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from endpoints.routing.snapshot import Target
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]
    Sleepy = Callable[..., httpx.Client]


@pytest.fixture
def rung() -> list[int]:
    """The endpoints that were rung for."""
    return []


@pytest.fixture
def sleepy(serve: Callable[..., Served], rung: list[int]) -> Iterator[Sleepy]:
    """A client of a gateway whose requests wait for sleepers for so long."""
    made: list[httpx.Client] = []

    def make(*, max_wait: float = 20.0, max_waiting: int = 10) -> httpx.Client:
        gateway = gateway_with()
        gateway.waking = Waking(
            gateway.router, max_wait=max_wait, max_waiting=max_waiting, first_comment=0.3, ring=rung.append
        )
        client = httpx.Client(base_url=serve(gateway).url, timeout=30, trust_env=False)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def asleep(upstream: FakeUpstream, *, number: int = 1, wakes_in: float | None = None) -> Target:
    return replace(target_for(upstream, number=number), status=Status.ASLEEP, wakes_in_seconds=wakes_in)


def woken(target: Target) -> Target:
    return replace(target, status=Status.HEALTHY)


def wait_for(rung: list[int]) -> None:
    deadline = time.monotonic() + 10
    while not rung and time.monotonic() < deadline:
        time.sleep(0.01)
    assert rung


def test_a_request_rings_waits_and_is_served(
    sleepy: Sleepy, rung: list[int], upstreams: Upstreams, table: Table
) -> None:
    target = asleep(upstreams(), wakes_in=2.0)
    table(target)
    client = sleepy()
    assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["m1"]

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(client.post, CHAT, json=chat_body())
        wait_for(rung)
        table(replace(target, status=Status.UNKNOWN, was_rung=True))  # its server answers, and is checked
        late = pool.submit(client.post, CHAT, json=chat_body())
        assert not asked.done()
        table(woken(target))

        assert asked.result(10).status_code == late.result(10).status_code == 200
    assert rung == [1]


def test_others_are_not_held_up_meanwhile(
    sleepy: Sleepy, rung: list[int], upstreams: Upstreams, table: Table
) -> None:
    target = asleep(upstreams(), number=1)
    other = target_for(upstreams("m2"), number=2)
    table(target, other)
    client = sleepy()

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(client.post, CHAT, json=chat_body())
        wait_for(rung)
        assert client.post(CHAT, json={**chat_body(), "model": "m2"}).status_code == 200
        assert not asked.done()
        table(woken(target), other)
        assert asked.result(10).status_code == 200


def test_nobody_is_rung_for_while_a_sibling_serves(
    sleepy: Sleepy, rung: list[int], upstreams: Upstreams, table: Table
) -> None:
    table(asleep(upstreams(), number=1), target_for(upstreams(), number=2))

    assert sleepy().post(CHAT, json=chat_body()).headers["x-olla-endpoint"] == "mini-2"
    assert rung == []


@pytest.mark.parametrize(("max_wait", "wakes_in"), [(0, None), (5, 40.0), (0.2, None), (0.2, 0.1)])
def test_a_wait_that_is_too_long_is_refused_with_a_time(
    sleepy: Sleepy,
    rung: list[int],
    upstreams: Upstreams,
    table: Table,
    max_wait: float,
    wakes_in: float | None,
) -> None:
    table(asleep(upstreams(), wakes_in=wakes_in))

    refused = sleepy(max_wait=max_wait).post(CHAT, json=chat_body())

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_loading")
    assert refused.headers["retry-after"] == ("40" if wakes_in == 40 else "30")
    assert rung == [1]


def test_who_waits_for_one_that_cannot_be_woken_is_told_why_and_when_to_come(
    sleepy: Sleepy, rung: list[int], upstreams: Upstreams, table: Table
) -> None:
    target = asleep(upstreams())
    table(target)
    client = sleepy()
    figures = "needs 5.1 GB of memory, and 2.0 GB are free"

    with ThreadPoolExecutor() as pool:
        asked = pool.submit(client.post, CHAT, json=chat_body())
        wait_for(rung)
        until = clock.now() + timedelta(seconds=15)
        table(replace(target, reason=figures, next_check_at=until))
        refused = [asked.result(10), client.post(CHAT, json=chat_body())]

    for each in refused:
        assert (each.status_code, each.json()["error"]["code"]) == (503, "model_unavailable")
        assert figures in each.json()["error"]["message"]
        assert int(each.headers["retry-after"]) > 10
    assert rung == [1]


def test_no_more_wait_than_may(sleepy: Sleepy, upstreams: Upstreams, table: Table) -> None:
    table(asleep(upstreams()))

    refused = sleepy(max_waiting=0).post(CHAT, json=chat_body())

    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")


class Listener:
    """Somebody who has asked for a stream, and what was said so far."""

    def __init__(self, client: httpx.Client, pool: ThreadPoolExecutor) -> None:
        self._told: list[bytes] = []
        self._commented = threading.Event()
        self._reading = pool.submit(self._read, client)

    def _read(self, client: httpx.Client) -> None:
        with client.stream("POST", CHAT, json={**chat_body(), "stream": True}) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            for piece in response.iter_raw():
                self._told.append(piece)
                self._commented.set()

    def hears_a_comment(self) -> None:
        assert self._commented.wait(10)
        assert self._told[0] == COMMENT

    def hears_the_end(self, *, cut: bool = False) -> bytes:
        """All that came after the comments."""
        if cut:
            with pytest.raises(httpx.RemoteProtocolError):  # so that nobody takes it for an answer
                self._reading.result(10)
        else:
            self._reading.result(10)
        return b"".join(self._told).replace(COMMENT, b"")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def test_a_stream_gets_comments_while_it_waits(
    sleepy: Sleepy, upstreams: Upstreams, table: Table, pool: ThreadPoolExecutor
) -> None:
    target = asleep(upstreams())
    table(target)
    listener = Listener(sleepy(), pool)
    listener.hears_a_comment()

    table(woken(target))

    assert listener.hears_the_end().endswith(b"data: [DONE]\n\n")


def test_a_refusal_becomes_an_event_of_the_stream_that_has_begun(
    sleepy: Sleepy, upstreams: Upstreams, table: Table, pool: ThreadPoolExecutor
) -> None:
    upstream = upstreams()
    upstream.answer("/v1/chat/completions", answers.error(400, "too long"))
    target = asleep(upstream)
    table(target)
    listener = Listener(sleepy(), pool)
    listener.hears_a_comment()

    table(woken(target))

    said = listener.hears_the_end()
    assert said.startswith(b"data: {")
    assert b"too long" in said


@pytest.mark.parametrize(("max_wait", "code"), [(0.6, b"model_loading"), (20.0, b"model_unavailable")])
def test_who_waited_in_vain_is_told_in_the_stream_which_is_cut(
    sleepy: Sleepy, upstreams: Upstreams, table: Table, pool: ThreadPoolExecutor, max_wait: float, code: bytes
) -> None:
    target = asleep(upstreams())
    table(target)
    listener = Listener(sleepy(max_wait=max_wait), pool)
    listener.hears_a_comment()

    if code == b"model_unavailable":
        table(replace(target, status=Status.OFFLINE))  # it could not be loaded

    assert code in listener.hears_the_end(cut=True)
