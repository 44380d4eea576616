"""Responses: what is asked for, what is refused, and that a stream tells of the same response as its end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from ollaproject.wire.chat import chunk_of, read_completion
from ollaproject.wire.openai_errors import ApiError
from ollaproject.wire.responses.answer import response_of
from ollaproject.wire.responses.request import Asked, to_chat
from ollaproject.wire.responses.stream import ResponseStream
from tests.wire.streams import answers, events_in

Json = dict[str, Any]
USAGE = {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}}
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


def asked(**fields: Any) -> Asked:
    return to_chat(json.dumps({"model": "m", "input": "Hello", **fields}).encode())


def without_ids(items: list[Json]) -> list[Json]:
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


@given(answers(), st.sampled_from(["stop", "length"]))
def test_a_stream_is_the_whole_response_in_pieces(answer: tuple[Json, list[Json]], end: str) -> None:
    message, deltas = answer
    stream = ResponseStream(asked())
    chunks: list[Json] = [{"choices": [{"delta": delta}]} for delta in deltas]
    chunks += [{"choices": [{"delta": {}, "finish_reason": end}]}, {"choices": [], "usage": USAGE}]

    events = events_in(b"".join(stream.feed(chunk_of(chunk)) for chunk in chunks) + stream.finish())

    payload: Json = {"choices": [{"message": message, "finish_reason": end}], "usage": USAGE}
    whole = response_of(read_completion(json.dumps(payload).encode()), asked())
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    status = "completed" if end == "stop" else "incomplete"
    assert events[-1]["type"] == f"response.{status}"
    assert [item["status"] for item in whole["output"]][-1:] == [status][: len(whole["output"])]
    assert {item["status"] for item in whole["output"][:-1]} <= {"completed"}
    last = events[-1]["response"]
    assert without_ids(last["output"]) == without_ids(whole["output"])
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == last[
        "output"
    ]
    for event in events:
        EVENTS.validate_python(event)
    Response.model_validate(whole, strict=True)


def test_items_become_messages() -> None:
    items = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "What is here?"}]},
        {
            "type": "reasoning",
            "id": "rs",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "a"},
        {"type": "function_call_output", "call_id": "c2", "output": "b"},
    ]
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}

    chat = asked(
        input=items, instructions="Help.", tools=[LOOK], tool_choice={"type": "function", "name": "look"}
    ).chat

    assert chat["messages"] == [
        {"role": "system", "content": "Help."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is here?"},
        {
            "role": "assistant",
            "content": "Wait.",
            "reasoning_content": "Hm.",
            "tool_calls": [{"id": "c1", **call}, {"id": "c2", **call}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a"},
        {"role": "tool", "tool_call_id": "c2", "content": "b"},
    ]
    assert chat["tools"][0]["function"]["name"] == "look"
    assert chat["tool_choice"] == {"type": "function", "function": {"name": "look"}}


def test_formats_and_limits_are_translated() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}

    chat = asked(max_output_tokens=7, text={"format": form}, reasoning={"effort": "low"}, store=True).chat

    assert chat["max_tokens"] == 7
    assert chat["reasoning_effort"] == "low"
    assert chat["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"include": "reasoning.encrypted_content"}, "include"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"text": ""}, "text"),
        ({"tools": ""}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "look"}}, "tool_choice"),
        ({"truncation": "auto"}, "truncation"),
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"made_up": 1}, "made_up"),
    ],
)
def test_what_needs_openais_own_servers_is_refused_by_name(fields: Json, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        asked(**fields)

    assert (caught.value.status, caught.value.param) == (400, param)


def test_an_answer_that_was_too_long_is_incomplete() -> None:
    payload: Json = {"choices": [{"message": {"content": "On and"}, "finish_reason": "length"}]}

    response = response_of(read_completion(json.dumps(payload).encode()), asked())

    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}


def test_a_stream_that_fails_says_so_in_its_own_events() -> None:
    stream = ResponseStream(asked())
    begun = stream.feed(chunk_of({"choices": [{"delta": {"content": "half"}}]}))

    events = events_in(begun + stream.fail("It broke.", "upstream_disconnected"))

    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"] == {"code": "upstream_disconnected", "message": "It broke."}
