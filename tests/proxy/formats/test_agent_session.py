"""A coding agent's session of several turns: the same events whether a server speaks Anthropic's API or not.

The script says what the model does in each turn. One server tells it in Anthropic's events, written out here
by hand, and one in chat chunks; the agent, which is the anthropic SDK, must not be able to tell them apart.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from tests.fakes import answers
from tests.fakes.anthropic_answers import chat_says, chat_stream, typed
from tests.proxy.conftest import target_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.fakes.answers import SeenRequest, Step
    from tests.fakes.upstream import FakeUpstream
    from tests.proxy.conftest import Served

Json = dict[str, Any]
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 20,
    "output_tokens": 7,
}
SYSTEM: Any = [
    {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": "Work in small steps."},
]
READ: Any = {"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {}}}
BASH: Any = {"name": "Bash", "description": "Runs.", "input_schema": {"type": "object", "properties": {}}}
# What the model says, turn by turn: blocks, each in the pieces in which it comes.
TURNS: list[list[tuple[str, str, list[str]]]] = [
    [
        ("thinking", "", ["I should ", "look."]),
        ("text", "", ["Let me ", "read it."]),
        ("tool_use", "Read", ['{"path": ', '"a.py"}']),
    ],
    [
        ("tool_use", "Bash", ['{"command": "ls -l"}']),
        ("tool_use", "Read", ['{"path": "é', '.py", "limit": 3}']),
    ],
    [("text", "", ["Done: ", "it was ", "a typo. 🎉"])],
]
RESULTS: list[Json] = [
    {"content": "print('hi')"},
    {"content": [{"type": "text", "text": "No such file"}], "is_error": True},
]
KINDS = {
    "thinking": ("thinking_delta", "thinking"),
    "text": ("text_delta", "text"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def turn_of(request: SeenRequest) -> int:
    """Which turn it is: as many as the assistant has had."""
    return sum(message["role"] == "assistant" for message in request.json()["messages"])


def stop_reason(turn: int) -> str:
    return "tool_use" if any(kind == "tool_use" for kind, _, _ in TURNS[turn]) else "end_turn"


def native(request: SeenRequest) -> Iterable[Step]:
    """The turn as Anthropic's own server tells it."""
    turn = turn_of(request)
    blocks = [_block(turn, place, empty=False) for place in range(len(TURNS[turn]))]
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m1",
        "stop_sequence": None,
        "usage": USAGE,
    }
    if not request.json().get("stream"):
        return answers.respond({**message, "content": blocks, "stop_reason": stop_reason(turn)})(request)
    events: list[Json] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    ]
    for index, (kind, _, pieces) in enumerate(TURNS[turn]):
        events.append(
            {"type": "content_block_start", "index": index, "content_block": _block(turn, index, empty=True)}
        )
        events += [{"type": "ping"}] if index == 0 else []
        name, field = KINDS[kind]
        deltas: list[Json] = [{"type": name, field: piece} for piece in pieces]
        deltas += [{"type": "signature_delta", "signature": ""}] if kind == "thinking" else []
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop_reason(turn), "stop_sequence": None}
    events += [{"type": "message_delta", "delta": delta, "usage": USAGE}, {"type": "message_stop"}]
    return answers.sse([typed(event) for event in events])(request)


def _block(turn: int, place: int, *, empty: bool) -> Json:
    kind, name, pieces = TURNS[turn][place]
    said = "" if empty else "".join(pieces)
    if kind == "tool_use":
        arguments = json.loads(said) if said else {}
        return {"type": kind, "id": f"call_{turn}_{place}", "name": name, "input": arguments}
    return {"type": kind, kind: said, **({"signature": ""} if kind == "thinking" else {})}


def chat(request: SeenRequest) -> Iterable[Step]:
    """The same turn as a server tells it that speaks chat only."""
    turn = turn_of(request)
    calls = [place for place, (kind, _, _) in enumerate(TURNS[turn]) if kind == "tool_use"]
    deltas: list[Json] = []
    for place, (kind, name, pieces) in enumerate(TURNS[turn]):
        if kind != "tool_use":
            deltas += [{"content" if kind == "text" else "reasoning_content": piece} for piece in pieces]
            continue
        index = calls.index(place)
        function = {"name": name, "arguments": ""}
        deltas.append({"tool_calls": [{"index": index, "id": f"call_{turn}_{place}", "function": function}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces]
    reason = "tool_calls" if calls else "stop"
    if request.json().get("stream"):
        return answers.sse(chat_stream(deltas, reason))(request)
    return chat_says(_whole(turn, calls), reason)(request)


def _whole(turn: int, calls: list[int]) -> Json:
    said = {kind: "".join(pieces) for kind, _, pieces in TURNS[turn]}
    functions = [
        {"name": TURNS[turn][place][1], "arguments": "".join(TURNS[turn][place][2])} for place in calls
    ]
    return {
        "content": said.get("text"),
        "reasoning_content": said.get("thinking"),
        "tool_calls": [
            {"id": f"call_{turn}_{place}", "type": "function", "function": function}
            for place, function in zip(calls, functions, strict=True)
        ],
    }


def session(url: str, *, stream: bool) -> tuple[list[Json], list[Json]]:
    """An agent's whole session: every event that it saw, and the conversation that came of it."""
    seen: list[Json] = []
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Mend a.py."}]}]
    how: Any = {
        "model": "m1",
        "max_tokens": 500,
        "system": SYSTEM,
        "tools": [READ, BASH],
        "metadata": {"user_id": "u"},
    }
    with anthropic.Anthropic(base_url=f"{url}/olla/anthropic", api_key="x", max_retries=0) as sdk:
        while True:
            if stream:
                with sdk.messages.stream(messages=messages, **how) as events:
                    seen += [event.model_dump() for event in events]
                    message = events.get_final_message()
            else:
                message = sdk.messages.create(messages=messages, **how)
            seen.append(message.model_dump())
            messages.append(
                {
                    "role": "assistant",
                    "content": [block.model_dump(exclude_none=True) for block in message.content],
                }
            )
            asked = [block for block in message.content if block.type == "tool_use"]
            if not asked:
                return [_without_ids(event) for event in seen], messages
            results = [
                {"type": "tool_result", "tool_use_id": call.id, **RESULTS[place]}
                for place, call in enumerate(asked)
            ]
            messages.append({"role": "user", "content": results})


def _without_ids(event: Json) -> Json:
    """Messages have ids of their own; and a chat tells how long its prompt was at its end only."""
    if event["type"] == "message_start":
        return {**event, "message": {**event["message"], "id": "", "usage": None}}
    if event["type"] == "message_stop":
        return {**event, "message": {**event["message"], "id": ""}}
    return {**event, "id": ""} if event["type"] == "message" else event


@pytest.mark.parametrize("stream", [True, False])
def test_an_agent_sees_the_same_events_either_way(
    served: Served, table: Callable[..., None], upstreams: Callable[..., FakeUpstream], *, stream: bool
) -> None:
    speaking, plain = upstreams("m1"), upstreams("m1")
    speaking.answer(MESSAGES, native)
    plain.answer(CHAT, chat)

    table(target_for(speaking))
    passed, history = session(served.url, stream=stream)
    table(target_for(plain, type="openai-compatible"))
    translated, same_history = session(served.url, stream=stream)

    assert translated == passed
    assert same_history == history
    assert len(speaking.requests_for(MESSAGES)) == len(plain.requests_for(CHAT)) == len(TURNS)


def test_what_the_model_is_told_in_chat_is_the_whole_conversation(
    served: Served, table: Callable[..., None], upstream: FakeUpstream
) -> None:
    upstream.answer(CHAT, chat)
    table(target_for(upstream, type="openai-compatible"))

    session(served.url, stream=True)

    last = upstream.requests_for(CHAT)[-1].json()
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "tool"]
    assert last["messages"][0]["content"] == "You are an agent.\n\nWork in small steps."
    assert last["messages"][2]["reasoning_content"] == "I should look."
    assert last["messages"][6]["content"] == "Error: No such file"
    assert [call["id"] for call in last["messages"][4]["tool_calls"]] == ["call_1_0", "call_1_1"]


def test_a_session_goes_on_elsewhere_when_its_server_breaks(
    served: Served, table: Callable[..., None], upstreams: Callable[..., FakeUpstream]
) -> None:
    """From one that speaks the format to one that does not, in the middle of a session."""
    speaking, plain = upstreams("m1"), upstreams("m1")
    plain.answer(CHAT, chat)
    speaking.answer(
        MESSAGES, lambda asked: native(asked) if turn_of(asked) == 0 else answers.error(503, "gone")(asked)
    )
    table(target_for(speaking), target_for(plain, number=2, type="openai-compatible", priority=1))

    _, history = session(served.url, stream=True)

    assert history[-1]["content"] == [{"type": "text", "text": "Done: it was a typo. 🎉"}]
    assert len(plain.requests_for(CHAT)) == len(TURNS) - 1
