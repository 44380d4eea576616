"""A thought takes as many tokens as it may, and then it is ended, whatever the model would say."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.generation.thoughts import Thoughts
from inference.work import ThoughtLimit

VOCABULARY = 8
START, END, OTHER = 6, 7, 1
LONG_START, LONG_END = (5, 6), (3, 3, 7)


def said_with(limit: ThoughtLimit, prompt: list[int], wanted: list[int]) -> list[int]:
    """What is said by a model that wants to say this, and may not always."""
    thoughts = Thoughts(prompt, limit)
    said: list[int] = []
    for token in wanted:
        logits = mx.zeros((1, VOCABULARY)).at[:, token].add(50.0)
        said.append(int(np.array(thoughts(said[-1:], logits)).argmax()))
    return said


@pytest.mark.parametrize("tokens", [0, 1, 4])
def test_a_thought_that_the_prompt_has_begun_is_ended(tokens: int) -> None:
    limit = ThoughtLimit(tokens, (START,), (END,))
    assert said_with(limit, [2, START], [OTHER] * 8) == [*[OTHER] * tokens, END, *[OTHER] * (7 - tokens)]


def test_what_the_prompt_has_thought_counts() -> None:
    limit = ThoughtLimit(3, (START,), (END,))
    assert said_with(limit, [START, 2, END, START, 2, 2], [OTHER] * 4) == [OTHER, END, OTHER, OTHER]


def test_a_thought_that_has_ended_by_itself_is_left_alone() -> None:
    limit = ThoughtLimit(3, (START,), (END,))
    wanted = [OTHER, END, *[OTHER] * 6]
    assert said_with(limit, [START], wanted) == wanted
    assert said_with(limit, [START, 2, END], [OTHER] * 8) == [OTHER] * 8


def test_each_thought_has_as_many() -> None:
    limit = ThoughtLimit(2, (START,), (END,))
    assert said_with(limit, [2], [START, 1, 1, 1, START, 1, 1, 1]) == [START, 1, 1, END, START, 1, 1, END]


def test_an_end_of_several_tokens_is_forced_one_after_another() -> None:
    limit = ThoughtLimit(2, LONG_START, LONG_END)
    assert said_with(limit, [*LONG_START], [1, 1, 1, 1, 1, 1]) == [1, 1, *LONG_END, 1]


def test_an_end_that_has_begun_is_not_begun_again() -> None:
    limit = ThoughtLimit(2, LONG_START, LONG_END)
    assert said_with(limit, [*LONG_START], [1, 3, 1, 1, 1]) == [1, *LONG_END, 1]


@pytest.mark.parametrize(("start", "end"), [((START,), (END,)), (LONG_START, LONG_END)])
@given(
    prompt=st.lists(st.integers(0, VOCABULARY - 1), max_size=12),
    wanted=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=30),
    tokens=st.integers(0, 5),
)
def test_no_thought_is_longer_and_nothing_else_is_changed(
    start: tuple[int, ...], end: tuple[int, ...], prompt: list[int], wanted: list[int], tokens: int
) -> None:
    said = said_with(ThoughtLimit(tokens, start, end), prompt, wanted)
    known = len(prompt)
    whole = tuple(prompt + said)
    begun: int | None = None  # where the thought begins
    for place in range(len(whole)):
        if place >= known and whole[place] != wanted[place - known]:
            assert begun is not None
            assert place - begun >= tokens
            assert whole[place] in end
        begins = whole[: place + 1][-len(start) :] == start
        if begun is None or (begins and place < known):
            begun = place + 1 if begins else None
        elif len(said_since := whole[begun : place + 1]) >= len(end) and said_since[-len(end) :] == end:
            assert place + 1 - begun - len(end) <= max(tokens, known - begun)
            begun = None
        else:
            assert place + 1 - begun < max(tokens, known - begun) + len(end) + 1
