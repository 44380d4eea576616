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
    added: list[Json] = [
        event.get("item") or event["part"] for event in events if event["type"].endswith(".added")
    ]
    assert {each.get("arguments") or each.get("text") or "" for each in added} <= {""}
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
        {"role": "system", "content": "Help.\n\nBe brief."},
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


def test_what_the_developer_says_later_is_told_in_the_users_turn() -> None:
    items = [
        {"role": "user", "content": "Hello"},
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    ]

    chat = asked(input=items).chat

    reminder = "<system-reminder>\nBe brief.\n</system-reminder>"
    assert chat["messages"] == [{"role": "user", "content": f"Hello\n\n{reminder}"}]


def test_pictures_that_a_tool_found_follow_as_the_users() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,aWs="}
    items = [
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "a"}, picture],
        },
    ]

    messages = asked(input=items).chat["messages"]

    assert messages[1] == {"role": "tool", "tool_call_id": "c1", "content": "a"}
    assert messages[2] == {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aWs="}}],
    }


def test_a_namespaces_function_is_called_by_both_its_names() -> None:
    """As Codex offers the tools of an MCP server."""
    space = {"type": "namespace", "name": "mcp__files__", "description": "Files.", "tools": [LOOK]}
    past = {"type": "function_call", "call_id": "c1", "name": "look", "namespace": "mcp__files__"}
    request = asked(tools=[LOOK, space], input=[{**past, "arguments": "{}"}])
    call = {"index": 0, "id": "c2", "function": {"name": "mcp__files__look", "arguments": "{}"}}
    payload: Json = {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    chunks: list[Json] = [{"choices": [{"delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}]
    stream = ResponseStream(request)

    whole = response_of(read_completion(json.dumps(payload).encode()), request)
    events = events_in(b"".join(stream.feed(chunk_of(chunk)) for chunk in chunks) + stream.finish())

    assert [tool["function"]["name"] for tool in request.chat["tools"]] == ["look", "mcp__files__look"]
    assert request.chat["messages"][0]["tool_calls"][0]["function"]["name"] == "mcp__files__look"
    for response in (whole, events[-1]["response"]):
        item = response["output"][0]
        assert (item["namespace"], item["name"]) == ("mcp__files__", "look")
    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert done["name"] == "look"


def test_tools_that_openai_runs_are_left_out_beside_others() -> None:
    """As Codex offers its web search whatever serves it."""
    chat = asked(tools=[LOOK, {"type": "web_search", "external_web_access": False}], client_metadata={}).chat

    assert [tool["function"]["name"] for tool in chat["tools"]] == ["look"]


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
        ({"tools": [LOOK, {"type": "custom", "name": "patch"}]}, "tools[1].type"),
        ({"tools": [LOOK, "look"]}, "tools[1].type"),
        ({"tools": [{"type": "namespace", "name": "a", "tools": [{"name": "b"}]}]}, "tools[0].tools[0].type"),
        ({"tools": [{"type": "namespace", "tools": [LOOK]}]}, "tools[0].name"),
        ({"tools": [LOOK], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
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
