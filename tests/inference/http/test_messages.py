"""Anthropic's API of the model server, through the anthropic SDK."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.inference.conftest import TINY
from tests.inference.servers import running
from tests.inference.tool_model import MODEL
from tests.wire.streams import events_in, message_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from anthropic.types import MessageParam, ToolParam

    from inference.options import ServerOptions
    from tests.inference.servers import Running

HELLO: list[MessageParam] = [{"role": "user", "content": "Say something."}]
COLD = {"temperature": 0}
WEATHER: ToolParam = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Bern", "Genf"]}, "sunny": {"type": "boolean"}},
        "required": ["city", "sunny"],
        "additionalProperties": False,
    },
}
CLOCK: ToolParam = {"name": "clock", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def tiny(tiny_server: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=tiny_server.url, api_key="not-needed", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def calling(tiny_options: ServerOptions, tool_folder: Any) -> Iterator[anthropic.Anthropic]:
    """A model that knows tools and thoughts, and says what it is told to."""
    options = replace(tiny_options, models=replace(tiny_options.models, name=str(tool_folder)))
    with (
        running(options) as server,
        anthropic.Anthropic(base_url=server.url, api_key="not-needed", max_retries=0) as client,
    ):
        yield client


def body(**fields: Any) -> dict[str, Any]:
    return {"model": TINY, "max_tokens": 12, "temperature": 0, "messages": HELLO, **fields}


def test_a_message_and_its_stream_say_the_same(tiny_http: httpx.Client) -> None:
    whole = tiny_http.post("/v1/messages", json=body()).json()
    streamed = tiny_http.post("/v1/messages", json=body(stream=True))

    events = events_in(streamed.content)
    message = message_from(events)
    assert message["content"] == whole["content"]
    assert message["stop_reason"] == whole["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] == whole["usage"]["output_tokens"] == 12
    start, end = events[0]["message"]["usage"], events[-2]["usage"]
    assert start["cache_read_input_tokens"] > 0  # the first request has left the prompt
    assert {name: end[name] for name in start if name != "output_tokens"} == {
        name: start[name] for name in start if name != "output_tokens"
    }
    assert start["input_tokens"] + start["cache_read_input_tokens"] == sum(
        whole["usage"][name] for name in ("input_tokens", "cache_read_input_tokens")
    )
    assert streamed.headers["request-id"] == streamed.headers["x-request-id"]


def test_counted_tokens_are_those_of_the_message(tiny: anthropic.Anthropic) -> None:
    system = "Be brief, whatever you are asked."
    counted = tiny.messages.count_tokens(model=TINY, messages=HELLO, system=system)
    usage = tiny.messages.create(model=TINY, max_tokens=1, messages=HELLO, system=system).usage

    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [*HELLO, {"role": "assistant", "content": "Once upon"}]},
        {"tools": [CLOCK]},
        {"tools": [CLOCK], "tool_choice": {"type": "any"}},
        {"tools": [CLOCK], "tool_choice": {"type": "none"}},
    ],
    ids=["goes on", "tools", "forced", "none"],
)
def test_a_count_is_exact_whatever_ends_the_prompt(calling: anthropic.Anthropic, fields: Any) -> None:
    asked: Any = {"model": MODEL, "messages": HELLO, **fields}
    counted = calling.messages.count_tokens(**asked)
    usage = calling.messages.create(max_tokens=1, **asked).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_a_stop_sequence_is_named(tiny: anthropic.Anthropic) -> None:
    said = tiny.messages.create(model=TINY, max_tokens=12, messages=HELLO, extra_body=COLD).content[0]
    assert said.type == "text"
    stop = said.text[5:8]

    message = tiny.messages.create(
        model=TINY, max_tokens=12, messages=HELLO, extra_body=COLD, stop_sequences=["never", stop]
    )

    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)


def test_it_goes_on_with_what_the_assistant_began(tiny_http: httpx.Client) -> None:
    begun = [*HELLO, {"role": "assistant", "content": "Once upon"}]

    counts = [
        tiny_http.post("/v1/messages", json=body(messages=messages)).json()["usage"]
        for messages in (HELLO, begun)
    ]

    prompt, longer = (usage["input_tokens"] + usage["cache_read_input_tokens"] for usage in counts)
    assert prompt < longer < prompt + 8  # two words, and no beginning of another answer


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"model": "claude"}, anthropic.NotFoundError, "not served here"),
        ({"max_tokens": 10**6}, anthropic.BadRequestError, "at most"),
        ({"messages": []}, anthropic.BadRequestError, "messages"),
        ({"temperature": 2}, anthropic.BadRequestError, "temperature"),
        ({"tools": [CLOCK]}, anthropic.BadRequestError, "knows no tools"),
        ({"stop_sequences": [""]}, anthropic.BadRequestError, "'stop_sequences'"),
        ({"stop_sequences": ["a"] * 17}, anthropic.BadRequestError, "'stop_sequences'"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "x"}}}},
            anthropic.BadRequestError,
            "'output_config.format.schema'",
        ),
    ],
)
def test_errors_are_anthropics(
    tiny: anthropic.Anthropic, fields: Any, error: type[anthropic.APIStatusError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        tiny.post("/v1/messages", body=body(**fields), cast_to=object)

    found: Any = caught.value.body
    assert found["type"] == "error"
    assert found["request_id"] == caught.value.request_id


def test_calls_are_streamed_as_they_grow(calling: anthropic.Anthropic) -> None:
    with calling.messages.stream(
        model=MODEL,
        max_tokens=300,
        messages=HELLO,
        tools=[WEATHER, CLOCK],
        extra_body=COLD,
        tool_choice={"type": "tool", "name": "weather"},
    ) as stream:
        events = list(stream)
        message = stream.get_final_message()

    (call,) = message.content
    assert call.type == "tool_use"
    assert call.name == "weather"
    assert message.stop_reason == "tool_use"
    pieces = [
        event.delta.partial_json
        for event in events
        if event.type == "content_block_delta" and event.delta.type == "input_json_delta"
    ]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == call.input


def test_a_call_that_the_limit_cuts_is_an_answer_all_the_same(calling: anthropic.Anthropic) -> None:
    asked: Any = {"model": MODEL, "messages": HELLO, "tools": [WEATHER], "extra_body": COLD}
    forced: Any = {"type": "tool", "name": "weather"}

    messages = [
        calling.messages.create(max_tokens=limit, tool_choice=forced, **asked)
        for limit in (4, 32, 40, 48, 56, 300)
    ]

    cut = [message for message in messages if message.stop_reason == "max_tokens"]
    inputs = [block.input for message in cut for block in message.content if block.type == "tool_use"]
    assert {} in inputs
    assert all(given.keys() <= {"city", "sunny"} for given in inputs if isinstance(given, dict))
    assert messages[-1].stop_reason == "tool_use"


def test_several_calls_and_their_results_go_back_and_forth(calling: anthropic.Anthropic) -> None:
    history: list[MessageParam] = [
        *HELLO,
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
                {"type": "tool_use", "id": "t2", "name": "clock", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "Sunny."},
                {"type": "tool_result", "tool_use_id": "t2", "content": "Noon.", "is_error": True},
            ],
        },
    ]

    counted = calling.messages.count_tokens(model=MODEL, messages=history, tools=[WEATHER, CLOCK])
    message = calling.messages.create(model=MODEL, max_tokens=4, messages=history, tools=[WEATHER, CLOCK])

    usage = message.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
