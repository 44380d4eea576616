"""The circuit breaker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from endpoints.health.breaker import FAULTS_TO_OPEN, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Breaker

steps = st.lists(
    st.tuples(st.sampled_from(("succeeded", "failed", "abandoned")), st.floats(0, 100)), max_size=60
)


def opened(*, now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAULTS_TO_OPEN):
        breaker.failed(now)
    return breaker


def test_it_opens_with_the_last_of_enough_faults_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(FAULTS_TO_OPEN - 1):
        breaker.failed(0)
        assert breaker.passes(0)
    breaker.failed(0)
    assert not breaker.passes(0)


def test_a_good_answer_in_between_starts_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(FAULTS_TO_OPEN - 1):
        breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.passes(0)


def test_clients_that_leave_never_open_it() -> None:
    breaker = Breaker()
    for _ in range(10 * FAULTS_TO_OPEN):
        breaker.began(0)
        breaker.abandoned()
    assert breaker.passes(0)


def test_half_open_it_lets_one_request_through() -> None:
    breaker = opened()
    assert not breaker.passes(FIRST_PAUSE_SECONDS - 0.1)
    assert breaker.passes(FIRST_PAUSE_SECONDS)
    breaker.began(FIRST_PAUSE_SECONDS)
    assert not breaker.passes(FIRST_PAUSE_SECONDS)


def test_the_one_request_closes_it_when_it_succeeds() -> None:
    breaker = opened()
    breaker.began(FIRST_PAUSE_SECONDS)
    breaker.succeeded()
    assert breaker == Breaker()


def test_the_one_request_opens_it_for_twice_as_long_when_it_fails() -> None:
    breaker = opened()
    breaker.began(FIRST_PAUSE_SECONDS)
    breaker.failed(FIRST_PAUSE_SECONDS)
    assert not breaker.passes(3 * FIRST_PAUSE_SECONDS - 0.1)
    assert breaker.passes(3 * FIRST_PAUSE_SECONDS)


def test_when_the_client_of_the_one_request_leaves_the_next_one_decides() -> None:
    breaker = opened()
    breaker.began(FIRST_PAUSE_SECONDS)
    breaker.abandoned()
    assert breaker.passes(FIRST_PAUSE_SECONDS)


def test_what_was_under_way_when_it_opened_neither_closes_it_nor_prolongs_it() -> None:
    breaker = opened()
    breaker.succeeded()
    assert not breaker.passes(0)
    breaker.failed(FIRST_PAUSE_SECONDS / 2)
    assert breaker.passes(FIRST_PAUSE_SECONDS)


@given(steps)
def test_whatever_happens_it_is_open_for_a_minute_at_most_and_a_good_trial_closes_it(
    happened: list[tuple[str, float]],
) -> None:
    breaker, now = Breaker(), 0.0
    for word, seconds in happened:
        now += seconds
        if breaker.passes(now):
            breaker.began(now)
        if word == "failed":
            breaker.failed(now)
        elif word == "succeeded":
            breaker.succeeded()
        else:
            breaker.abandoned()
    breaker.abandoned()
    later = now + LONGEST_PAUSE_SECONDS
    assert breaker.passes(later)
    breaker.began(later)
    breaker.succeeded()
    assert breaker == Breaker()
