"""Before the first byte the next endpoint is tried; what cannot be tried again is told honestly."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest

from endpoints.choices import Retry
from tests.fakes import answers
from tests.fakes.answers import CLOSE, HANG, RESET
from tests.proxy.conftest import CHAT, chat_body, over_both_servers, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from endpoints.routing.snapshot import Target
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]
    Upstreams = Callable[..., FakeUpstream]

pytestmark = over_both_servers

PATH = "/v1/chat/completions"


def refused_url() -> str:
    """An address where nobody listens."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def first(upstream: FakeUpstream | str, **changes: Any) -> Target:
    """A target that is tried before any other."""
    return target_for(upstream, number=1, priority=100, **changes)


def second(upstream: FakeUpstream | str, **changes: Any) -> Target:
    return target_for(upstream, number=2, priority=50, **changes)


@pytest.mark.parametrize(
    "answer",
    [
        answers.raw(RESET),
        answers.raw(CLOSE),
        answers.raw(b"HTTP/1.1 200 OK\r\nContent-Type: app", CLOSE),
        answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", RESET),
        answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        answers.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"),
        answers.raw(b"SSH-2.0-OpenSSH_9.2\r\n", HANG),
        answers.raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000, HANG),
        answers.raw(b"HTTP/1.1 799 Nonsense\r\nContent-Length: 0\r\n\r\n"),
        answers.error(429, "busy", headers={"Retry-After": 7}),
        answers.error(502, "bad gateway"),
        answers.error(503, "loading"),
        answers.error(504, "timeout"),
    ],
    ids=[
        "reset", "eof", "eof in the head", "eof in a short body", "two lengths", "length and chunked",
        "no http", "endless headers", "status 799", "429", "502", "503", "504",
    ],
)  # fmt: skip
def test_the_next_endpoint_answers_when_the_first_does_not(
    client: httpx.Client, upstreams: Upstreams, table: Table, answer: answers.Answer
) -> None:
    bad, good = upstreams(), upstreams()
    bad.answer(PATH, answer)
    table(first(bad), second(good))

    got = client.post(CHAT, json=chat_body())

    assert got.status_code == 200
    assert got.headers["x-olla-endpoint"] == "mini-2"
    assert got.headers["x-olla-attempts"] == "2"
    assert len(bad.requests) == 1


def test_a_refused_connection_goes_to_the_next_endpoint(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    table(first(refused_url()), second(upstream))

    got = client.post("/olla/vllm-mlx/v1/anything", json=chat_body())

    assert got.headers["x-olla-endpoint"] == "mini-2"
    assert got.headers["x-olla-attempts"] == "2"


def test_an_unknown_host_name_goes_to_the_next_endpoint(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    table(first("http://no-such-host.invalid:8000"), second(upstream))

    assert client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] == "mini-2"


def test_no_first_byte_in_time_goes_to_the_next_endpoint(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    slow, good = upstreams(), upstreams()
    slow.answer(PATH, answers.raw(HANG))
    table(first(slow, first_byte_timeout_seconds=0.2), second(good))

    got = client.post(CHAT, json=chat_body())

    assert got.headers["x-olla-endpoint"] == "mini-2"
    slow.wait_for_departure()


def test_tls_that_does_not_verify_is_never_used(
    client: httpx.Client, upstream: FakeUpstream, table: Table
) -> None:
    encrypted = upstream.url.replace("http:", "https:")
    table(first(encrypted, connect_timeout_seconds=0.2), second(upstream))

    assert client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] == "mini-2"


def test_the_last_endpoints_own_answer_is_passed_on(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    one, two = upstreams(), upstreams()
    one.answer(PATH, answers.error(503, "one is loading"))
    two.answer(PATH, answers.error(429, "two is busy", headers={"Retry-After": 7}))
    table(first(one), second(two))

    got = client.post(CHAT, json=chat_body())

    assert (got.status_code, got.headers["retry-after"]) == (429, "7")
    assert got.json()["error"]["message"] == "two is busy"
    assert got.headers["x-olla-attempts"] == "2"


def test_when_nobody_answers_it_says_why_and_asks_not_to_retry(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    broken = upstreams()
    broken.answer(PATH, answers.raw(CLOSE))
    table(first(refused_url()), second(broken))

    got = client.post(CHAT, json=chat_body())

    assert got.status_code == 502
    assert got.headers["x-should-retry"] == "false"
    error = got.json()["error"]
    assert error["code"] == "upstream_error"
    assert "mini-1 refused the connection" in error["message"]
    assert "mini-2" in error["message"]
    assert got.headers["x-olla-request-id"] in error["message"]


def test_no_first_byte_anywhere_is_a_504(client: httpx.Client, upstream: FakeUpstream, table: Table) -> None:
    upstream.answer(PATH, answers.raw(HANG))
    table(first(upstream, first_byte_timeout_seconds=0.2))

    got = client.post(CHAT, json=chat_body())

    assert (got.status_code, got.json()["error"]["code"]) == (504, "upstream_timeout")


def test_where_no_backend_was_reached_none_is_named(client: httpx.Client, table: Table) -> None:
    table(first(refused_url()))

    got = client.post(CHAT, json=chat_body())

    assert "x-olla-endpoint" not in got.headers
    assert got.headers["x-olla-attempts"] == "1"


def test_what_may_have_had_an_effect_is_not_sent_twice(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    bad, good = upstreams(), upstreams()
    bad.answer("/v1/files", answers.raw(CLOSE))
    table(first(bad), second(good))

    got = client.post("/olla/vllm-mlx/v1/files", content=b"x")

    assert got.status_code == 502
    assert not good.requests


@pytest.mark.parametrize(
    ("retry", "path", "served_by"),
    [
        ("always", "/v1/files", "mini-2"),
        ("safe", "/v1/files", None),
        ("safe", PATH, "mini-2"),
        ("never", PATH, None),
    ],
)
def test_an_endpoint_says_whether_what_failed_there_goes_to_the_next(
    client: httpx.Client, upstreams: Upstreams, table: Table, retry: str, path: str, served_by: str | None
) -> None:
    bad, good = upstreams(), upstreams()
    bad.answer(path, answers.raw(CLOSE))
    good.answer(path, answers.respond({"good": True}))
    table(first(bad, retry=Retry(retry)), second(good))

    got = client.post(f"/olla/vllm-mlx{path}", json=chat_body())

    assert (got.status_code, len(good.requests)) == ((200, 1) if served_by else (502, 0))
    assert len(bad.requests) == 1


def test_what_was_not_sent_goes_on_even_where_nothing_is_sent_twice(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    busy, good = upstreams(), upstreams()
    busy.answer(PATH, answers.error(503, "loading"))
    table(first(busy, retry=Retry.NEVER), second(good))
    assert client.post(CHAT, json=chat_body()).status_code == 503

    table(first(refused_url(), retry=Retry.NEVER), second(good))
    assert client.post(CHAT, json=chat_body()).headers["x-olla-endpoint"] == "mini-2"


def test_a_get_is_tried_elsewhere(client: httpx.Client, upstreams: Upstreams, table: Table) -> None:
    bad, good = upstreams(), upstreams()
    bad.answer("/info", answers.raw(CLOSE))
    good.answer("/info", answers.respond({"good": True}))
    table(first(bad), second(good))

    assert client.get("/olla/vllm-mlx/info").json() == {"good": True}


def test_the_whole_body_goes_to_the_next_endpoint(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    bad, good = upstreams(), upstreams()
    bad.answer(PATH, answers.raw(RESET))
    table(first(bad), second(good))
    body = chat_body(padding="x" * 700_000)

    assert client.post(CHAT, json=body).status_code == 200
    assert good.requests[0].json() == body


def test_every_attempt_is_counted_where_it_was_made(
    client: httpx.Client, served: Served, upstreams: Upstreams, table: Table
) -> None:
    bad, good = upstreams(), upstreams()
    bad.answer(PATH, answers.raw(RESET))
    table(first(bad), second(good))

    client.post(CHAT, json=chat_body())

    of_bad, of_good = served.tally_of(1), served.tally_of(2)
    assert (of_bad.requests, of_bad.failures, of_bad.successes) == (1, 1, 0)
    assert (of_good.requests, of_good.failures, of_good.successes) == (1, 0, 1)


def test_who_asks_is_told_where_the_time_went(
    client: httpx.Client, upstreams: Upstreams, table: Table
) -> None:
    slow, good = upstreams(), upstreams()
    slow.answer(PATH, answers.raw(HANG))
    table(first(slow, first_byte_timeout_seconds=0.2), second(good))

    told = client.post(CHAT, json=chat_body(), headers={"X-Olla-Timing": "1"}).headers["server-timing"]
    spent = {name: float(took) for name, took in re.findall(r"(\w+);dur=([0-9.]+)", told)}

    assert list(spent) == ["queue", "failed", "upstream", "gateway", "total"]
    assert spent["failed"] > 190  # milliseconds; a loop's timer may fire a moment early
    assert spent["total"] == pytest.approx(sum(spent.values()) - spent["total"], abs=0.5)
    assert "server-timing" not in client.post(CHAT, json=chat_body()).headers


def test_a_health_route_without_an_answer_is_unhealthy(client: httpx.Client, table: Table) -> None:
    table(first(refused_url()))

    got = client.get("/olla/vllm-mlx/health")

    assert got.status_code == 503
    assert got.json()["status"] == "unhealthy"
    assert "refused the connection" in got.json()["reason"]
