"""A line of numbers: its scale, its gaps, and a value that stands alone."""

from __future__ import annotations

from endpoints.pages.sparkline import path


def test_the_largest_value_reaches_the_top() -> None:
    assert path([0, 5, 10], height=20) == "M0 20l2-20"


def test_a_missing_value_is_a_gap_and_not_a_zero() -> None:
    assert path([1, 1, None, 1, 1], height=10) == "M0 0h1M3 0h1"


def test_a_value_between_gaps_can_still_be_seen() -> None:
    assert path([None, 1, None], height=10) == "M1 0h.5"


def test_a_value_above_the_top_is_drawn_at_the_top() -> None:
    assert path([5, 50], height=10, top=10) == "M0 5l1-5"


def test_no_values_and_nothing_but_zeros_are_no_fault() -> None:
    assert path([None, None], height=10) == ""
    assert path([0, 0], height=10) == "M0 10h1"
