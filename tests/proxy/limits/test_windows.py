"""The sliding minute and the budgets, second by second."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from proxy.limits.windows import (
    SECONDS_PER_DAY,
    Budget,
    Spent,
    Window,
    month_of,
    until_next_month,
    until_tomorrow,
)


def unix(*date: int) -> float:
    return datetime(*date, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]


def test_what_is_older_than_a_minute_does_not_count() -> None:
    window = Window()
    window.add(100.9, 3)
    window.add(130.0, 2)

    assert (window.used(160.8), window.used(161.0), window.used(191.0)) == (5, 2, 0)


def test_it_says_truly_when_there_is_room() -> None:
    window = Window()
    for second in (100, 110, 120):
        window.add(second + 0.5, 2)
    now = 130.25
    for amount, wait in ((1, 30.75), (2, 30.75), (3, 40.75), (6, 50.75)):
        assert window.wait(now, amount) == wait
        assert window.used(now) - window.used(now) == 0

    assert window.reset(now) == 50.75
    assert window.used(now + 30.75) == 4


def test_an_estimate_is_corrected_where_it_was_made() -> None:
    window = Window()
    window.add(100.0, 50)
    window.add(101.0, 50)
    window.correct(100, -45)

    assert window.used(102) == 55
    assert window.used(161) == 50


@pytest.mark.parametrize("amount", [-30, 30])
def test_a_correction_that_comes_after_its_window_changes_nothing(amount: int) -> None:
    window = Window()
    window.add(100.0, 50)
    assert window.used(170) == 0
    window.add(170.0, 7)
    window.correct(100, amount)

    assert window.used(170) == 7


def test_a_budget_begins_anew_with_its_day_and_month() -> None:
    budget = Budget()
    budget.add(unix(2027, 1, 30, 12), 5)
    budget.add(unix(2027, 1, 31, 23, 59, 59), 7)

    assert budget.used(unix(2027, 1, 31, 23, 59, 59)) == (7, 12)
    assert budget.used(unix(2027, 2, 1)) == (0, 0)


def test_a_budget_goes_on_from_what_was_spent() -> None:
    day = int(unix(2027, 1, 31)) // SECONDS_PER_DAY
    for at, used in ((unix(2027, 1, 31, 5), (3, 9)), (unix(2027, 2, 1), (0, 0))):
        budget = Budget()
        budget.seed(at, Spent(day, 3, 9))
        assert budget.used(at) == used
    budget = Budget()
    budget.seed(unix(2027, 1, 31, 5), Spent(day - 1, 3, 9))
    assert budget.used(unix(2027, 1, 31, 5)) == (0, 9)


def test_days_and_months_end_when_the_calendar_says() -> None:
    at = unix(2027, 12, 31, 23, 0, 0)

    assert until_tomorrow(at) == until_next_month(at) == 3600
    assert until_next_month(unix(2028, 2, 1)) == 29 * SECONDS_PER_DAY
    assert month_of(int(at) // SECONDS_PER_DAY) == 202712
