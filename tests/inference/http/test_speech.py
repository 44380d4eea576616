"""Thoughts, content and calls are told apart, however the text is cut into pieces."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.http.call_notations import JSON, growing_of
from inference.http.speech import Manner, Speech

CALL = '{"name": "weather", "arguments": {"city": "Bern"}}'
OTHER = '{"name": "time", "arguments": {}}'
TOOLS = Manner(call=("<tool_call>", "</tool_call>"))
THINKS = Manner(thought=("<think>", "</think>"), call=("<tool_call>", "</tool_call>"))


def heard(manner: Manner, *pieces: str) -> tuple[str, str, list[tuple[str, Any]]]:
    """Content, reasoning, and calls, after everything was said."""
    speech = Speech(manner)
    said = [speech.feed(piece) for piece in pieces]
    said.append(speech.feed("", last=True))
    calls: dict[int, list[Any]] = {}
    for call in (call for one in said for call in one.calls):
        known = calls.setdefault(call.place, [call.name, ""])
        known[1] += call.arguments
    assert list(calls) == list(range(len(calls)))
    return (
        "".join(one.content for one in said),
        "".join(one.reasoning for one in said),
        [(name, json.loads(arguments)) for name, arguments in calls.values()],
    )


WEATHER = ("weather", {"city": "Bern"})
TIME: tuple[str, dict[str, Any]] = ("time", {})


@pytest.mark.parametrize(
    ("manner", "text", "expected"),
    [
        (TOOLS, "Just text.", ("Just text.", "", [])),
        (TOOLS, "  spaces stay \n", ("  spaces stay \n", "", [])),
        (TOOLS, "a < b <tool", ("a < b <tool", "", [])),
        (TOOLS, f"<tool_call>\n{CALL}\n</tool_call>", ("", "", [WEATHER])),
        (TOOLS, f"I look.\n<tool_call>{CALL}</tool_call>\n", ("I look.", "", [WEATHER])),
        (
            TOOLS,
            f"<tool_call>{CALL}</tool_call>\n<tool_call>{OTHER}</tool_call>",
            ("", "", [WEATHER, TIME]),
        ),
        (TOOLS, f"<tool_call>{CALL}", ("", "", [WEATHER])),
        (TOOLS, '<tool_call>{"name": "wea', ('<tool_call>{"name": "wea', "", [])),
        (TOOLS, "<tool_call>nothing</tool_call> more", ("<tool_call>nothing</tool_call> more", "", [])),
        (TOOLS, "a <tool_call>nothing</tool_call>\n b", ("a <tool_call>nothing</tool_call>\n b", "", [])),
        (TOOLS, f"I look. <tool_call>{CALL}</tool_call>\nDone.\n", ("I look. \nDone.", "", [WEATHER])),
        (THINKS, "<think>Hm.</think> One <think> Hm? </think>two", ("One two", "Hm.Hm?", [])),
        (
            TOOLS,
            '<tool_call>{"arguments": {}}</tool_call>',
            ('<tool_call>{"arguments": {}}</tool_call>', "", []),
        ),
        (THINKS, "<think>\nHm.\n</think>\n\nYes.", ("Yes.", "Hm.", [])),
        (THINKS, f"<think>Hm.</think><tool_call>{CALL}</tool_call>", ("", "Hm.", [WEATHER])),
        (THINKS, "<think>never ends", ("", "never ends", [])),
        (Manner(thought=("<think>", "</think>"), is_thinking=True), "Hm.</think>Yes", ("Yes", "Hm.", [])),
        (Manner(calls_only=True), CALL, ("", "", [WEATHER])),
        (Manner(calls_only=True), CALL[:20], (CALL[:20], "", [])),
        (Manner(call=("[TOOL_CALLS]", "")), f"[TOOL_CALLS][{CALL}, {OTHER}]", ("", "", [WEATHER, TIME])),
        (
            Manner(call=("<tool_call>", "</tool_call>"), parallel=False),
            f"<tool_call>{CALL}</tool_call><tool_call>{OTHER}</tool_call>",
            ("", "", [WEATHER]),
        ),
    ],
)
def test_it_tells_apart_what_is_said(manner: Manner, text: str, expected: Any) -> None:
    assert heard(manner, text) == expected
    assert heard(manner, *text) == expected  # letter by letter


@given(
    text=st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<tool_call>", "</tool_call>", CALL, OTHER, " ", "a", "<", "\n"]
        ),
        max_size=12,
    ).map("".join),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_it_does_not_matter_how_the_text_is_cut(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    assert heard(THINKS, *pieces) == heard(THINKS, text)


def test_content_is_shown_before_the_call_is_whole() -> None:
    speech = Speech(TOOLS)
    assert speech.feed("I look. <tool_call>{").content == "I look."
    assert speech.is_calling


JSON_TOOLS = replace(TOOLS, grows=growing_of(JSON, json.loads))


def test_arguments_in_json_are_given_out_as_they_grow() -> None:
    speech = Speech(JSON_TOOLS)
    pieces = [
        '<tool_call>{"name": "wea',
        'ther", "arguments": {"ci',
        'ty": "B}',
        ' \\"ern\\\\"}',
        "}\n</tool_call>",
    ]

    said = [call for piece in pieces for call in speech.feed(piece).calls]

    assert [call.name for call in said] == ["weather", "", "", ""][: len(said)]
    assert [call.arguments for call in said] == ['{"ci', 'ty": "B}', ' \\"ern\\\\"}']
    assert speech.feed("", last=True).calls == ()


@given(
    arguments=st.recursive(
        st.text('a"\\{}[]<>', max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\}', max_size=2), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_growing_arguments_are_the_same_however_they_are_cut(arguments: Any, cuts: list[int]) -> None:
    text = f"<tool_call>{json.dumps({'name': 'a', 'arguments': {'x': arguments}})}</tool_call>"
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]

    heard_now = heard(JSON_TOOLS, *(text[start:end] for start, end in itertools.pairwise(places)))

    assert heard_now == ("", "", [("a", {"x": arguments})])


def test_a_call_keeps_the_id_that_the_model_gave_it() -> None:
    speech = Speech(TOOLS)
    said = speech.feed('<tool_call>{"id": "call_7", "name": "a", "arguments": "{}"}</tool_call>')
    assert (said.calls[0].id, said.calls[0].arguments) == ("call_7", "{}")


def test_it_is_over_after_one_call_when_more_are_not_wanted() -> None:
    speech = Speech(Manner(call=("<c>", "</c>"), parallel=False))
    assert speech.feed(f"<c>{CALL}</c>").is_over
