"""A chat answer is the same message whole and streamed, however it was cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from jiter import from_json

from ollaproject.wire.anthropic.answer import message_of
from ollaproject.wire.anthropic.stream import MessageStream
from ollaproject.wire.chat import BackendFailed, TranslationError, chunk_of, read_chunk, read_completion
from tests.wire.streams import answers, events_in, message_from

Json = dict[str, Any]
DELTA = "content_block_delta"
USAGE = {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}}


def whole(message: Json, finish_reason: str = "stop", **choice: Any) -> Json:
    payload: Json = {
        "choices": [{"message": message, "finish_reason": finish_reason, **choice}],
        "usage": USAGE,
    }
    return message_of(read_completion(json.dumps(payload).encode()), model="m")


def streamed(deltas: list[Json], finish_reason: str = "stop", **how: Any) -> list[Json]:
    stream = MessageStream(model="m", **how)
    chunks: list[Json] = [
        {"choices": [{"delta": delta}]} for delta in ({"role": "assistant", "content": ""}, *deltas)
    ]
    chunks += [{"choices": [{"delta": {}, "finish_reason": finish_reason}]}, {"choices": [], "usage": USAGE}]
    return events_in(b"".join(stream.feed(chunk_of(chunk)) for chunk in chunks) + stream.finish())


@given(answers())
def test_a_stream_is_the_whole_answer_in_pieces(answer: tuple[Json, list[Json]]) -> None:
    message, deltas = answer

    made = message_from(streamed(deltas))

    assert {**made, "id": ""} == {**whole(message), "id": ""}


def test_usage_tells_what_was_read_from_the_cache_apart() -> None:
    assert whole({"content": "Hi."})["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 20,
        "output_tokens": 7,
    }


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
    ],
)
def test_the_reason_of_the_end_is_translated(finish_reason: str, expected: str) -> None:
    assert whole({"content": "Hi."}, finish_reason)["stop_reason"] == expected


def test_a_stop_sequence_that_the_server_names_is_named() -> None:
    message = whole({"content": "Hi."}, stop_reason="###")

    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "###")


def test_a_ping_follows_the_first_start() -> None:
    assert [event["type"] for event in streamed([{"content": "Hi."}])] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_hidden_thoughts_are_not_shown() -> None:
    events = streamed([{"reasoning": "secret"}, {"content": "Hi."}], hides_thoughts=True)

    assert message_from(events)["content"][0] == {"type": "thinking", "thinking": "", "signature": ""}


@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [("length", "max_tokens"), ("tool_calls", "tool_use"), ("stop", "tool_use")],
)
@pytest.mark.parametrize(
    ("arguments", "whole_ones"),
    [
        ("", {}),
        ('{"ci', {}),
        ('{"city": "Be', {}),
        ('{"city": "Bern", "days": 1', {"city": "Bern"}),
        (' {"city": "Bern" , "at": {"lat": 46.9, "lon": [7, {', {"city": "Bern"}),
        ('{"city": "Bern", "days": 12}', {"city": "Bern", "days": 12}),
        ('{"city": "Bern"}}', {"city": "Bern"}),
        ('["Bern", ', {}),
        (' ["Bern"]', {}),
        ("null", {}),
        ("{'city': 'Bern'}", {}),
        ('"city": "Bern", "days": 12', {}),
        ("city=Bern", {}),
    ],
)
def test_a_call_whose_json_does_not_end_well_has_what_is_whole(
    arguments: str, whole_ones: Json, finish_reason: str, expected: str
) -> None:
    call = {"id": "c", "function": {"name": "look", "arguments": arguments}}

    message = whole({"tool_calls": [call]}, finish_reason)

    assert message["content"] == [{"type": "tool_use", "id": "c", "name": "look", "input": whole_ones}]
    assert message["stop_reason"] == expected

    # In a stream it is the same call, as far as Anthropic's SDK can read it.
    letters = [{"tool_calls": [{"index": 0, "function": {"arguments": letter}}]} for letter in arguments]
    events = streamed([{"tool_calls": [{**call, "function": {"name": "look"}}]}, *letters], finish_reason)
    told = "".join(event["delta"]["partial_json"] for event in events if event["type"] == DELTA)
    assert whole_ones.items() <= (from_json(told.encode(), partial_mode=True) if told else {}).items()
    assert events[-2]["delta"]["stop_reason"] == expected


def test_a_call_without_a_name_is_an_error() -> None:
    with pytest.raises(TranslationError, match="without a name"):
        whole({"tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]})


def test_a_stream_without_an_end_is_an_error() -> None:
    stream = MessageStream(model="m")
    stream.feed(chunk_of({"choices": [{"delta": {"content": "half"}}]}))

    with pytest.raises(TranslationError):
        stream.finish()


def test_an_error_inside_of_a_stream_is_found() -> None:
    with pytest.raises(BackendFailed, match="out of memory"):
        read_chunk(b'{"error": {"message": "out of memory", "code": "oom"}}')
