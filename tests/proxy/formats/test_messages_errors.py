"""What goes wrong on Anthropic's surface at the gateway is told as Anthropic tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from endpoints.choices import Status
from tests.fakes import answers, anthropic_answers
from tests.fakes.answers import RESET
from tests.proxy.conftest import PLAIN, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from anthropic.types import MessageParam

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
HELLO: list[MessageParam] = [{"role": "user", "content": "What is MLX?"}]
BODY = {"model": "m1", "max_tokens": 9, "messages": HELLO}


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (403, anthropic.PermissionDeniedError, "permission_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic.InternalServerError, "overloaded_error"),
    ],
)
def test_a_backends_error_is_anthropics(
    anthropic_sdk: anthropic.Anthropic,
    anthropic_backend: str,
    upstream: FakeUpstream,
    status: int,
    error: type[anthropic.APIStatusError],
    kind: str,
) -> None:
    for path in (CHAT, MESSAGES):
        upstream.answer(path, answers.error(status, "no", headers={"Retry-After": 3}))

    with pytest.raises(error) as caught:
        anthropic_sdk.messages.create(model="m1", max_tokens=9, messages=HELLO)

    body: Any = caught.value.body
    assert body["error"] == {"type": kind, "message": "no"}
    assert caught.value.response.headers["retry-after"] == "3"


def test_our_own_errors_are_anthropics(
    anthropic_sdk: anthropic.Anthropic, anthropic_backend: str, upstream: FakeUpstream
) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_sdk.messages.create(model="nope", max_tokens=9, messages=HELLO)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert "m1" in body["error"]["message"]
    assert body["request_id"] == caught.value.request_id

    with pytest.raises(anthropic.AuthenticationError):
        anthropic_sdk.with_options(default_headers={"X-Forwarded-For": "10.0.0.1"}).messages.create(
            model="m1", max_tokens=9, messages=HELLO
        )


def test_what_cannot_be_translated_is_refused_by_name(
    anthropic_sdk: anthropic.Anthropic, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, type=PLAIN))

    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type"):
        anthropic_sdk.messages.create(
            model="m1",
            max_tokens=9,
            messages=HELLO,
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )

    assert upstream.requests == []


def test_a_cut_stream_ends_with_an_error_event(
    anthropic_sdk: anthropic.Anthropic, anthropic_backend: str, upstream: FakeUpstream
) -> None:
    half = anthropic_answers.chat_stream([{"content": "half"}])[:2]
    upstream.answer(CHAT, answers.sse(half, end=[RESET]))
    start = anthropic_answers.typed({"type": "ping"})
    upstream.answer(MESSAGES, answers.sse([start], end=[RESET]))

    with (
        pytest.raises(anthropic.APIStatusError, match="not the whole answer"),
        anthropic_sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO) as stream,
    ):
        list(stream)


def test_a_stream_without_a_reason_for_its_end_is_cut(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, type=PLAIN))
    upstream.answer(CHAT, answers.sse(anthropic_answers.chat_stream([{"content": "half"}])[:2]))

    with client.stream("POST", MESSAGES, json={**BODY, "stream": True}) as answer:
        pieces: list[bytes] = []
        with pytest.raises(Exception, match="peer closed"):
            pieces.extend(answer.iter_bytes())

    assert b'"text":"half"' in b"".join(pieces)
    assert b"event: error" in b"".join(pieces)


def test_no_routable_endpoint_is_an_overload(
    anthropic_sdk: anthropic.Anthropic, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, status=Status.OFFLINE))

    with pytest.raises(anthropic.InternalServerError) as caught:
        anthropic_sdk.messages.create(model="m1", max_tokens=9, messages=HELLO)

    assert caught.value.status_code == 503


def test_there_is_nothing_else_on_the_surface(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    answer = client.post("/olla/anthropic/v1/chat/completions", json=BODY)

    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_an_endpoint_that_breaks_off_while_it_counts_has_failed(
    client: httpx.Client, table: Table, upstream: FakeUpstream, served: Served
) -> None:
    table(target_for(upstream, type=PLAIN))
    half = answers.head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
    upstream.answer("/tokenize", answers.raw(half, answers.chunk(b'{"count": 1'), RESET))

    answer = client.post("/olla/anthropic/v1/messages/count_tokens", json=BODY)

    assert (answer.status_code, answer.json()["error"]["type"]) == (502, "api_error")
    assert served.tally_of(1).failures == 1
