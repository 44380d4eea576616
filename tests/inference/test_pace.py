"""Sizing chunks: what is read between two steps takes about as long as a step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.pace import SMALLEST_CHUNK_TOKENS, Pace

MOST = 512


def measured(*, step_seconds: float, token_seconds: float) -> Pace:
    pace = Pace(most_tokens=MOST)
    for _ in range(20):
        pace.note(step_seconds, decoding=True, read_tokens=0)
        pace.note(step_seconds + 32 * token_seconds, decoding=True, read_tokens=32)
    return pace


def test_it_reads_as_much_as_a_step_takes() -> None:
    pace = measured(step_seconds=0.1, token_seconds=0.001)
    assert pace.chunk_tokens(decoding=True) == pytest.approx(100, abs=2)


def test_it_reads_much_when_nobody_waits() -> None:
    pace = measured(step_seconds=0.1, token_seconds=0.001)
    assert pace.chunk_tokens(decoding=False) == 2 * MOST


def test_it_begins_with_what_it_was_told() -> None:
    assert Pace(most_tokens=64).chunk_tokens(decoding=True) == 64


def test_it_learns_the_cost_of_reading_when_nothing_else_runs() -> None:
    pace = Pace(most_tokens=MOST)
    pace.note(0.05, decoding=True, read_tokens=0)
    pace.note(1.0, decoding=False, read_tokens=1000)
    assert pace.chunk_tokens(decoding=True) == pytest.approx(50, abs=1)


def test_it_follows_as_steps_become_slower() -> None:
    pace = measured(step_seconds=0.05, token_seconds=0.001)
    for _ in range(20):
        pace.note(0.2, decoding=True, read_tokens=0)
    assert pace.chunk_tokens(decoding=True) == pytest.approx(200, abs=5)


@given(
    steps=st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.integers(0, 5000)), max_size=30),
)
def test_it_stays_within_its_bounds_whatever_was_measured(steps: list[tuple[float, bool, int]]) -> None:
    pace = Pace(most_tokens=MOST)
    for seconds, decoding, tokens in steps:
        pace.note(seconds, decoding=decoding, read_tokens=tokens)
        assert SMALLEST_CHUNK_TOKENS <= pace.chunk_tokens(decoding=True) <= MOST
