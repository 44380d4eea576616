"""Every part of a Messages request becomes its chat counterpart, or is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollaproject.wire.anthropic import counting, errors
from ollaproject.wire.anthropic.request import to_chat
from ollaproject.wire.openai_errors import ApiError

Json = dict[str, Any]
HELLO = [{"role": "user", "content": "Hello"}]
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWs="}}


def chat_of(*, messages: Any = HELLO, can_continue: bool = False, **fields: Any) -> Json:
    body = {"model": "m", "max_tokens": 9, "messages": messages, **fields}
    return to_chat(json.dumps(body).encode(), can_continue=can_continue).chat


def refusal(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        chat_of(**fields)
    assert caught.value.status == 400
    return caught.value


def test_a_conversation_with_tools_is_translated_whole() -> None:
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "What is here?"}, PNG]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I look.", "signature": "s"},
                {"type": "text", "text": "Wait."},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": "é"}},
                {"type": "tool_use", "id": "t2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a"}, PNG]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "gone", "is_error": True},
                {"type": "text", "text": "And?", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aWs="}}

    chat = chat_of(
        messages=turns, system=[{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]
    )

    assert chat["messages"] == [
        {"role": "system", "content": "Be\n\nbrief."},
        {"role": "user", "content": [{"type": "text", "text": "What is here?"}, picture]},
        {
            "role": "assistant",
            "content": "Wait.",
            "reasoning_content": "I look.",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at": "é"}'}},
                {"id": "t2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "a"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: gone"},
        {"role": "user", "content": [picture, {"type": "text", "text": "And?"}]},
    ]


def test_limits_and_wishes_are_translated() -> None:
    chat = chat_of(
        stop_sequences=["###"],
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        metadata={"user_id": "u"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        output_config={"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        stream=True,
    )

    assert {name: chat[name] for name in ("max_tokens", "stop", "temperature", "top_p", "top_k", "user")} == {
        "max_tokens": 9,
        "stop": ["###"],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 4,
        "user": "u",
    }
    assert chat["chat_template_kwargs"] == {"enable_thinking": True}
    assert chat["reasoning_effort"] == "high"
    assert chat["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert chat["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "look"},
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
        ),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_the_choice_of_tools_is_translated(choice: Json, expected: Json) -> None:
    chat = chat_of(tools=[LOOK], tool_choice=choice)

    assert {name: chat[name] for name in expected} == expected
    assert chat["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "look",
                "parameters": {"type": "object", "properties": {}},
                "description": "Looks.",
            },
        }
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"mcp_servers": []}, "mcp_servers"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "look"}]}, "tools[0]"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "system", "content": [PNG]}]}, "messages[1].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "redacted_thinking", "data": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": [1]}]}]},
            "messages[0].content[0].citations",
        ),
        ({"messages": [*HELLO, {"role": "assistant", "content": "{"}]}, "messages[1]"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields: Json, param: str) -> None:
    assert refusal(**fields).param == param


def test_what_the_system_says_later_is_told_in_the_users_turn() -> None:
    """As Claude Code lists its agents: most chat templates allow one system message, at the start."""
    turns = [
        *HELLO,
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]},
        {"role": "system", "content": "Plan first."},
    ]

    messages = chat_of(messages=turns, system="You help.")["messages"]

    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "user"]
    assert messages[0]["content"] == "You help."
    assert messages[1]["content"] == "Hello\n\n<system-reminder>\nBe brief.\n</system-reminder>"
    assert messages[4]["content"] == "<system-reminder>\nPlan first.\n</system-reminder>"


def test_turns_of_the_user_that_follow_each_other_are_one() -> None:
    """As Anthropic has it, and templates that want user and assistant to take turns."""
    turns = [*HELLO, {"role": "user", "content": [PNG]}, {"role": "user", "content": "Well?"}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aWs="}}

    chat = chat_of(messages=turns)

    assert chat["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Hello"}, picture, {"type": "text", "text": "Well?"}],
        }
    ]


def test_an_answer_that_was_begun_is_gone_on_with_where_that_is_possible() -> None:
    chat = chat_of(messages=[*HELLO, {"role": "assistant", "content": "{"}], can_continue=True)

    assert chat["continue_final_message"] is True
    assert chat["add_generation_prompt"] is False


def test_an_estimate_grows_with_the_text_and_counts_pictures() -> None:
    def count(content: Any) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": content}]}
        return counting.estimate(to_chat(json.dumps(body).encode(), counts_only=True))

    words = "The quick brown fox jumps over the lazy dog. " * 20

    assert 0 < count("Hi") < 10
    assert 150 < count(words) < 300
    assert count([PNG]) > 1000


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"input_tokens": 3}', 3),
        (b'{"count": 4, "tokens": [1]}', 4),
        (b'{"tokens": [1, 2]}', 2),
        (b"no", None),
    ],
)
def test_a_count_is_found_in_whatever_a_server_answers(body: bytes, count: int | None) -> None:
    assert counting.counted(body) == count


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, b'{"error": {"message": "no", "type": "x"}}', "invalid_request_error", "no"),
        (404, b'{"detail": "gone"}', "not_found_error", "gone"),
        (
            400,
            b'{"error": {"message": "At most 9.", "code": "context_length_exceeded"}}',
            "invalid_request_error",
            "prompt is too long: At most 9.",
        ),
        (503, b'{"error": "busy"}', "overloaded_error", "busy"),
        (500, b"<html>", "api_error", "The server answered 500."),
    ],
)
def test_a_servers_error_becomes_anthropics(status: int, body: bytes, kind: str, message: str) -> None:
    assert errors.of_openai(status, body, "req_1") == {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_1",
    }
