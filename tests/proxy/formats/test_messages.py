"""Anthropic's API at the gateway, through its own SDK: passed through, translated, and by turns."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from endpoints.routing.snapshot import Alias, Snapshot, install, snapshot
from tests.fakes import answers, anthropic_answers
from tests.fakes.answers import CLOSE
from tests.proxy.conftest import PLAIN, SPEAKING, target_for
from tests.proxy.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from anthropic.types import MessageParam, ToolParam

    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

    Table = Callable[..., None]

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
HELLO: list[MessageParam] = [{"role": "user", "content": "What is MLX?"}]
LOOK: ToolParam = {"name": "look", "input_schema": {"type": "object"}}
BODY = {"model": "m1", "max_tokens": 9, "messages": HELLO}


def test_a_message_is_answered_by_either_kind(
    anthropic_sdk: anthropic.Anthropic, anthropic_backend: str
) -> None:
    raw = anthropic_sdk.messages.with_raw_response.create(model="m1", max_tokens=9, messages=HELLO)

    message = raw.parse()
    assert [block.text for block in message.content if block.type == "text"] == ["MLX is fast."]
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens == 3
    assert raw.headers.get("x-olla-mode") == ("passthrough" if anthropic_backend == SPEAKING else None)
    assert raw.headers["request-id"] == raw.headers["x-olla-request-id"]


def test_a_stream_is_the_same_by_either_kind(
    anthropic_sdk: anthropic.Anthropic, anthropic_backend: str
) -> None:
    with anthropic_sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO) as stream:
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
    anthropic_sdk: anthropic.Anthropic, table: Table, upstream: FakeUpstream
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

    with anthropic_sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO, tools=[LOOK]) as stream:
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
    anthropic_sdk.messages.create(
        model="m1", max_tokens=9, messages=results, tools=[LOOK], extra_query={"beta": "true"}
    )
    asked = upstream.requests_for(CHAT)[-1].json()["messages"]
    assert [each["role"] for each in asked] == ["user", "assistant", "tool"]
    assert asked[1]["reasoning_content"] == "Hm."
    assert [call["id"] for call in asked[1]["tool_calls"]] == ["call_a", "call_b"]


def test_failover_goes_from_an_endpoint_that_speaks_it_to_one_that_does_not(
    anthropic_sdk: anthropic.Anthropic, table: Table, upstreams: Callable[..., FakeUpstream]
) -> None:
    broken, plain = upstreams("m1"), upstreams("m1")
    broken.answer(MESSAGES, answers.raw(CLOSE))
    table(target_for(broken), target_for(plain, number=2, type=PLAIN, priority=1))

    raw = anthropic_sdk.messages.with_raw_response.create(model="m1", max_tokens=9, messages=HELLO)

    assert raw.headers["x-olla-attempts"] == "2"
    assert "x-olla-mode" not in raw.headers
    assert plain.requests_for(CHAT)[0].json()["max_tokens"] == 9


def test_an_endpoint_that_does_not_know_the_route_after_all_is_asked_in_chat(
    anthropic_sdk: anthropic.Anthropic, served: Served, table: Table, upstream: FakeUpstream
) -> None:
    table(target_for(upstream))

    message = anthropic_sdk.messages.create(model="m1", max_tokens=9, messages=HELLO)

    assert message.stop_reason == "end_turn"
    assert [seen.path for seen in upstream.requests] == [MESSAGES, CHAT]
    wait_for(lambda: served.gateway.translators.figures["anthropic"].fallbacks == 1)


def test_an_alias_is_resolved_in_both_formats(
    anthropic_sdk: anthropic.Anthropic, anthropic_backend: str, upstream: FakeUpstream, table: Table
) -> None:
    now = snapshot()
    install(Snapshot(revision=2, targets=now.targets, aliases={"claude-sonnet": Alias(("m1",))}))

    anthropic_sdk.messages.create(model="claude-sonnet", max_tokens=9, messages=HELLO)

    assert upstream.requests[0].json()["model"] == "m1"


def test_tokens_are_logged_for_either_kind(
    anthropic_sdk: anthropic.Anthropic,
    anthropic_backend: str,
    upstream: FakeUpstream,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "proxy.record")
    upstream.answer(CHAT, answers.sse(anthropic_answers.chat_stream([{"content": "Hi."}])))

    with anthropic_sdk.messages.stream(model="m1", max_tokens=9, messages=HELLO) as stream:
        stream.get_final_message()

    counts = "prompt=10 completion=3" if anthropic_backend == SPEAKING else "prompt=30 completion=7 cached=20"
    wait_for(lambda: counts in caplog.text)


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
    anthropic_sdk: anthropic.Anthropic, anthropic_backend: str, upstream: FakeUpstream
) -> None:
    raw = anthropic_sdk.messages.with_raw_response.count_tokens(model="m1", messages=HELLO)

    assert 3 <= raw.parse().input_tokens <= 12
    assert raw.headers["x-olla-token-count"] == "estimated"
    assert json.loads(raw.text())["estimated"] is True


def test_models_are_listed_in_anthropics_shape_and_in_pages(
    anthropic_sdk: anthropic.Anthropic, table: Table, upstreams: Callable[..., FakeUpstream]
) -> None:
    table(target_for(upstreams("a/b", "c", "d"), type=PLAIN))

    assert [model.id for model in anthropic_sdk.models.list(limit=2)] == ["a/b", "c", "d"]
    assert anthropic_sdk.models.retrieve("c").display_name == "c"
    with pytest.raises(anthropic.NotFoundError):
        anthropic_sdk.models.retrieve("e")


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
