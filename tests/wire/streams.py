"""Chat answers made at random, cut into chunks at random, and what a client makes of the events."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import strategies as st

from ollaproject.wire.sse import Reader

Json = dict[str, Any]
TEXT = st.text(min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(st.text(max_size=4), st.integers() | TEXT, max_size=3).map(json.dumps)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """A message, and the deltas that it may come in: calls grow in turns, everything is cut anywhere."""
    thought = draw(st.just("") | TEXT)
    text = draw(st.just("") | TEXT)
    names = draw(st.lists(st.sampled_from(["look", "add"]), max_size=3))
    calls = [
        {"id": f"call_{place}", "type": "function", "function": {"name": name, "arguments": draw(ARGUMENTS)}}
        for place, name in enumerate(names)
    ]
    deltas: list[Json] = [{"reasoning_content": piece} for piece in draw(cut(thought))]
    deltas += [{"content": piece} for piece in draw(cut(text))]
    deltas += draw(grown(calls))
    message = {"content": text or None, "reasoning_content": thought or None, "tool_calls": calls or None}
    return message, deltas


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    edges = [0, *places, len(text)]
    return [text[start:end] for start, end in itertools.pairwise(edges) if text]


@st.composite
def grown(draw: st.DrawFn, calls: list[Json]) -> list[Json]:
    """Calls begin in their order; their arguments then come by turns."""
    rows = []
    for index, call in enumerate(calls):
        opening = {"index": index, "id": call["id"], "function": {"name": call["function"]["name"]}}
        pieces = draw(cut(call["function"]["arguments"]))
        rows.append([opening, *({"index": index, "function": {"arguments": piece}} for piece in pieces)])
    deltas = []
    while any(rows):
        started = [place for place, row in enumerate(rows) if row]
        ready = [each for each in started if each == started[0] or len(rows[each - 1]) < 2]
        deltas.append({"tool_calls": [rows[draw(st.sampled_from(ready))].pop(0)]})
    return deltas


def events_in(body: bytes) -> list[Json]:
    """Every event's payload; its name is the payload's type."""
    reader = Reader()
    found = [*reader.feed(body), *reader.rest()]
    payloads = [json.loads(event.data) for event in found]
    assert [event.name for event in found] == [payload["type"] for payload in payloads]
    return payloads


def message_from(events: list[Json]) -> Json:
    """What Anthropic's SDK puts together from a stream, with the order of the events checked."""
    assert events[0]["type"] == "message_start"
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    message: Json = events[0]["message"]
    is_open = False
    for event in events[1:-2]:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(message["content"])
                is_open = True
                message["content"].append({**event["content_block"]})
            case "content_block_delta":
                assert is_open
                _grow(message["content"][event["index"]], event["delta"])
            case "content_block_stop":
                is_open = False
            case other:
                assert other == "ping"
    assert not is_open
    for block in message["content"]:
        if "json" in block:
            block["input"] = json.loads(block.pop("json"))
    return {**message, **events[-2]["delta"], "usage": {**message["usage"], **events[-2]["usage"]}}


def _grow(block: Json, delta: Json) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] += delta["signature"]
        case "input_json_delta":
            block["json"] = block.get("json", "") + delta["partial_json"]
