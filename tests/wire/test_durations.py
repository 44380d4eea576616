"""Durations as operators write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollaproject.wire.durations import DurationError, format_duration, parse_duration

DAY_IN_MICROSECONDS = 24 * 3600 * 1_000_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5s", 5.0),
        ("500ms", 0.5),
        ("1m30s", 90.0),
        ("2h", 7200.0),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("250µs", 0.00025),
        ("250us", 0.00025),
        ("0", 0.0),
        (" 5s ", 5.0),
    ],
)
def test_it_reads_what_go_reads(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "5 s", "s", "-5s", "5sec", "1h5", "\u0665s", "1e3s", "5s" * 40, "inf"]
)
def test_it_refuses_anything_else_and_says_how_to_write_it(text: str) -> None:
    with pytest.raises(DurationError, match=r"is not a duration\. Write a number and a unit, such as 500ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.5, "500ms"), (5, "5s"), (90, "1m30s"), (7200, "2h"), (3661.25, "1h1m1.25s"), (60, "1m")],
)
def test_it_writes_the_short_form(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, DAY_IN_MICROSECONDS))
def test_what_it_writes_it_reads_back(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds


def test_it_writes_no_negative_duration() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)
