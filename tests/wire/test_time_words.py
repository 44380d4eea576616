"""Lengths of time as people read them."""

from __future__ import annotations

import pytest

from ollaproject.wire.time_words import exact_span, span


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (3 * 3600 + 5 * 60, "3 h 5 min"),
        (86400, "1 d"),
        (2 * 86400 + 4 * 3600 + 59 * 60, "2 d 4 h"),
    ],
)
def test_a_length_of_time_is_said_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.5, "500 ms"),
        (5, "5 s"),
        (90, "1 min 30 s"),
        (7200, "2 h"),
        (3661.25, "1 h 1 min 1.25 s"),
    ],
)
def test_what_was_set_is_said_to_the_last_digit(seconds: float, words: str) -> None:
    assert exact_span(seconds) == words
