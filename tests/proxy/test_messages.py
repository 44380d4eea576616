"""Anthropic's API at the gateway, through its own SDK: passed through, translated, and by turns."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from endpoints.choices import Status
from endpoints.snapshot import Alias, Snapshot, install, snapshot
from tests.fakes import answers, anthropic_answers
from tests.fakes.answers import CLOSE, RESET
from tests.proxy.conftest import target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from anthropic.types import MessageParam, ToolParam

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

CHAT, MESSAGES, COUNT = "/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"
HELLO: list[MessageParam] = [{"role": "user", "content": "What is MLX?"}]
LOOK: ToolParam = {"name": "look", "input_schema": {"type": "object"}}
PLAIN, SPEAKING = "openai-compatible", "vllm-mlx"
BODY = {"model": "m1", "max_tokens": 9, "messages": HELLO}


@pytest.fixture(params=["/olla/anthropic", ""])
def sdk(request: pytest.FixtureRequest, served: Served) -> Iterator[anthropic.Anthropic]:
    url = served.url + request.param
    with anthropic.Anthropic(base_url=url, api_key="not-needed", max_retries=0) as made:
        yield made


@pytest.fixture(params=[SPEAKING, PLAIN])
def backend(request: pytest.FixtureRequest, table: Table, upstream: FakeUpstream) -> str:
    """Its type: one that speaks Anthropic's API, and one that does not."""
    upstream.answer(MESSAGES, anthropic_answers.message)
    table(target_for(upstream, type=request.param))
    kind: str = request.param
    return kind


def test_a_message_is_answered_by_either_kind(sdk: anthropic.Anthropic, backend: str) -> None:
    raw = sdk.messages.with_raw_response.create(model="m1", max_tokens=9, messages=HELLO)

    message = raw.parse()
    assert [block.text for block in message.content if block.type == "text"] == ["MLX is fast."]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 3
    assert raw.headers.get("x-olla-mode") == ("passthrough" if backend == SPEAKING else None)
    assert raw.headers["request-id"] == raw.headers["x-olla-request-id"]


def test_a_stream_is_the_same_by_either_kind(sdk: anthropic.Anthropic, backend: str) -> None:
    with sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO) as stream:
        kinds = [event.type for event in stream if event.type not in ("text", "ping")]
        message = stream.get_final_message()

    assert [block.text for block in message.content if block.type == "text"] == ["MLX is fast."]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_what_is_passed_through_goes_out_byte_for_byte(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    upstream.answer(MESSAGES, anthropic_answers.message)
    table(target_for(upstream))
    body = b'{"model": "m1",  "max_tokens":9, "future_field": 1, "messages": []}'

    answer = client.post(
        "/olla/anthropic/v1/messages?beta=true", content=body, headers={"anthropic-beta": "x"}
    )

    seen = upstream.requests[0]
    assert (seen.body, seen.path, seen.header("anthropic-beta")) == (body, f"{MESSAGES}?beta=true", "x")
    assert answer.headers["x-olla-mode"] == "passthrough"


def test_a_conversation_with_tools_is_translated_both_ways(
    sdk: anthropic.Anthropic, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, type=PLAIN))
    calls: list[dict[str, Any]] = [
        {"index": 0, "id": "call_a", "type": "function", "function": {"name": "look", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"at": '}},
        {"index": 0, "function": {"arguments": '"Bern"}'}},
        {"index": 1, "id": "call_b", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ]
    deltas: list[dict[str, Any]] = [
        {"reasoning_content": "Hm."},
        {"content": "I look."},
        *({"tool_calls": [call]} for call in calls),
    ]
    upstream.answer(CHAT, answers.sse(anthropic_answers.chat_stream(deltas, "tool_calls")))

    with sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO, tools=[LOOK]) as stream:
        message = stream.get_final_message()

    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert [block.input for block in message.content if block.type == "tool_use"] == [{"at": "Bern"}, {}]
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (10, 20)
    results: list[MessageParam] = [
        *HELLO,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_a", "content": "sun"}]},
    ]
    sdk.messages.create(
        model="m1", max_tokens=9, messages=results, tools=[LOOK], extra_query={"beta": "true"}
    )
    asked = upstream.requests_for(CHAT)[-1].json()["messages"]
    assert [each["role"] for each in asked] == ["user", "assistant", "tool"]
    assert asked[1]["reasoning_content"] == "Hm."
    assert [call["id"] for call in asked[1]["tool_calls"]] == ["call_a", "call_b"]


def test_failover_goes_from_an_endpoint_that_speaks_it_to_one_that_does_not(
    sdk: anthropic.Anthropic, table: Table, upstreams: Callable[..., FakeUpstream]
) -> None:
    broken, plain = upstreams("m1"), upstreams("m1")
    broken.answer(MESSAGES, answers.raw(CLOSE))
    table(target_for(broken), target_for(plain, number=2, type=PLAIN, priority=1))

    raw = sdk.messages.with_raw_response.create(model="m1", max_tokens=9, messages=HELLO)

    assert raw.headers["x-olla-attempts"] == "2"
    assert "x-olla-mode" not in raw.headers
    assert plain.requests_for(CHAT)[0].json()["max_tokens"] == 9


def test_an_endpoint_that_does_not_know_the_route_after_all_is_asked_in_chat(
    sdk: anthropic.Anthropic, served: Served, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    message = sdk.messages.create(model="m1", max_tokens=9, messages=HELLO)

    assert message.stop_reason == "end_turn"
    assert [seen.path for seen in upstream.requests] == [MESSAGES, CHAT]
    wait_for(lambda: served.gateway.translators.figures["anthropic"].fallbacks == 1)


def test_an_alias_is_resolved_in_both_formats(
    sdk: anthropic.Anthropic, backend: str, upstream: FakeUpstream, table: Table
) -> None:
    now = snapshot()
    install(Snapshot(revision=2, targets=now.targets, aliases={"claude-sonnet": Alias(("m1",))}))

    sdk.messages.create(model="claude-sonnet", max_tokens=9, messages=HELLO)

    assert upstream.requests[0].json()["model"] == "m1"


def test_tokens_are_logged_for_either_kind(
    sdk: anthropic.Anthropic, backend: str, upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "proxy.record")
    upstream.answer(CHAT, answers.sse(anthropic_answers.chat_stream([{"content": "Hi."}])))

    with sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO) as stream:
        stream.get_final_message()

    counts = "prompt=10 completion=3" if backend == SPEAKING else "prompt=30 completion=7 cached=20"
    wait_for(lambda: counts in caplog.text)


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
    sdk: anthropic.Anthropic,
    backend: str,
    upstream: FakeUpstream,
    status: int,
    error: type[anthropic.APIStatusError],
    kind: str,
) -> None:
    for path in (CHAT, MESSAGES):
        upstream.answer(path, answers.error(status, "no", headers={"Retry-After": 3}))

    with pytest.raises(error) as caught:
        sdk.messages.create(model="m1", max_tokens=9, messages=HELLO)

    body: Any = caught.value.body
    assert body["error"] == {"type": kind, "message": "no"}
    assert caught.value.response.headers["retry-after"] == "3"


def test_our_own_errors_are_anthropics(
    sdk: anthropic.Anthropic, backend: str, upstream: FakeUpstream
) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        sdk.messages.create(model="nope", max_tokens=9, messages=HELLO)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert "m1" in body["error"]["message"]
    assert body["request_id"] == caught.value.request_id

    with pytest.raises(anthropic.AuthenticationError):
        sdk.with_options(default_headers={"X-Forwarded-For": "10.0.0.1"}).messages.create(
            model="m1", max_tokens=9, messages=HELLO
        )


def test_what_cannot_be_translated_is_refused_by_name(
    sdk: anthropic.Anthropic, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, type=PLAIN))

    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type"):
        sdk.messages.create(
            model="m1",
            max_tokens=9,
            messages=HELLO,
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )

    assert upstream.requests == []


def test_a_cut_stream_ends_with_an_error_event(
    sdk: anthropic.Anthropic, backend: str, upstream: FakeUpstream
) -> None:
    half = anthropic_answers.chat_stream([{"content": "half"}])[:2]
    upstream.answer(CHAT, answers.sse(half, end=[RESET]))
    start = anthropic_answers.typed({"type": "ping"})
    upstream.answer(MESSAGES, answers.sse([start], end=[RESET]))

    with (
        pytest.raises(anthropic.APIStatusError, match="not the whole answer"),
        sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO) as stream,
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


def test_counting_is_exact_where_an_endpoint_counts(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    upstream.answer(COUNT, answers.respond({"input_tokens": 12}))
    upstream.answer("/tokenize", answers.respond({"count": 14, "tokens": []}))
    body = {"model": "m1", "messages": HELLO, "system": "Be brief."}

    table(target_for(upstream))
    passed = client.post("/olla/anthropic" + COUNT, json=body)
    table(target_for(upstream, type=PLAIN))
    asked = client.post("/olla/anthropic" + COUNT, json=body)

    assert (passed.json(), asked.json()) == ({"input_tokens": 12}, {"input_tokens": 14})
    assert passed.headers["x-olla-token-count"] == asked.headers["x-olla-token-count"] == "exact"
    assert upstream.requests_for("/tokenize")[0].json()["messages"][0] == {
        "role": "system",
        "content": "Be brief.",
    }


def test_counting_is_an_estimate_that_says_so_elsewhere(
    sdk: anthropic.Anthropic, backend: str, upstream: FakeUpstream
) -> None:
    raw = sdk.messages.with_raw_response.count_tokens(model="m1", messages=HELLO)

    assert 3 <= raw.parse().input_tokens <= 12
    assert raw.headers["x-olla-token-count"] == "estimated"
    assert json.loads(raw.text())["estimated"] is True


def test_models_are_listed_in_anthropics_shape_and_in_pages(
    sdk: anthropic.Anthropic, table: Table, upstreams: Callable[..., FakeUpstream]
) -> None:
    table(target_for(upstreams("a/b", "c", "d"), type=PLAIN))

    assert [model.id for model in sdk.models.list(limit=2)] == ["a/b", "c", "d"]
    assert sdk.models.retrieve("c").display_name == "c"
    with pytest.raises(anthropic.NotFoundError):
        sdk.models.retrieve("e")


def test_no_routable_endpoint_is_an_overload(
    sdk: anthropic.Anthropic, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream, status=Status.OFFLINE))

    with pytest.raises(anthropic.InternalServerError) as caught:
        sdk.messages.create(model="m1", max_tokens=9, messages=HELLO)

    assert caught.value.status_code == 503


def test_there_is_nothing_else_on_the_surface(
    client: httpx.Client, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    answer = client.post("/olla/anthropic/v1/chat/completions", json=BODY)

    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


def test_figures_tell_the_two_ways_apart(
    client: httpx.Client, served: Served, table: Table, upstream: FakeUpstream
) -> None:
    upstream.answer(MESSAGES, anthropic_answers.message)
    table(target_for(upstream))
    client.post(MESSAGES, json=BODY)
    table(target_for(upstream, type=PLAIN))
    client.post(MESSAGES, json={**BODY, "stream": True})
    client.post(MESSAGES, json={**BODY, "max_tokens": 0})

    figures = served.gateway.translators.figures["anthropic"]
    wait_for(lambda: figures.requests == 3)
    assert (figures.requests, figures.succeeded, figures.failed) == (3, 2, 1)
    assert (figures.passed_through, figures.streaming) == (1, 1)
