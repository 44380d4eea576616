"""Thoughts, content and calls are told apart, however the text is cut into pieces."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.speech import Manner, Speech

CALL = '{"name": "weather", "arguments": {"city": "Bern"}}'
OTHER = '{"name": "time", "arguments": {}}'
TOOLS = Manner(call=("<tool_call>", "</tool_call>"))
THINKS = Manner(thought=("<think>", "</think>"), call=("<tool_call>", "</tool_call>"))


def heard(manner: Manner, *pieces: str) -> tuple[str, str, list[tuple[str, Any]]]:
    """Content, reasoning, and calls, after everything was said."""
    speech = Speech(manner)
    said = [speech.feed(piece) for piece in pieces]
    said.append(speech.feed("", last=True))
    calls = [call for one in said for call in one.calls]
    assert [call.place for call in calls] == list(range(len(calls)))
    return (
        "".join(one.content for one in said),
        "".join(one.reasoning for one in said),
        [(call.name, json.loads(call.arguments)) for call in calls],
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
        (TOOLS, "<tool_call>nothing</tool_call> more", ("<tool_call>nothing</tool_call>more", "", [])),
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


def test_a_call_keeps_the_id_that_the_model_gave_it() -> None:
    speech = Speech(TOOLS)
    said = speech.feed('<tool_call>{"id": "call_7", "name": "a", "arguments": "{}"}</tool_call>')
    assert (said.calls[0].id, said.calls[0].arguments) == ("call_7", "{}")


def test_it_is_over_after_one_call_when_more_are_not_wanted() -> None:
    speech = Speech(Manner(call=("<c>", "</c>"), parallel=False))
    assert speech.feed(f"<c>{CALL}</c>").is_over
