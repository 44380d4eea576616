"""The health rules: when a status flips, and how soon the next check is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints.choices import ROUTABLE, Status
from endpoints.health import rules
from endpoints.health.findings import ProbeResult
from endpoints.health.rules import FAILURES, HealthState, Pace, Thresholds
from endpoints.models import EndpointHealth

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
AT_ONCE = Thresholds(failures_to_go_down=1, successes_to_come_back=1)

results = st.builds(ProbeResult, status=st.sampled_from(Status), reason=st.text(max_size=400))
histories = st.lists(results, min_size=1, max_size=40)
thresholds = st.builds(
    Thresholds, failures_to_go_down=st.integers(1, 5), successes_to_come_back=st.integers(1, 5)
)
flappings = st.sampled_from(("steady", "flapping"))
LONGEST_REASON: Any = EndpointHealth._meta.get_field("reason").max_length
fractions = st.floats(0, 1, exclude_max=True)


def states(
    found: list[ProbeResult], given: Thresholds, *, status: Status = Status.UNKNOWN, flapping: str = "steady"
) -> list[HealthState]:
    """The state before the first result and after each of them, one second apart."""
    every = [HealthState(status=status, reason="", since=START, flapping=flapping == "flapping")]
    for seconds, result in enumerate(found, 1):
        at = START + timedelta(seconds=seconds)
        every.append(rules.judge(every[-1], result, at=at, thresholds=given))
    return every


def down_for(seconds: float, *, status: Status = Status.OFFLINE) -> tuple[HealthState, datetime]:
    return HealthState(status, "", START, consecutive_failures=9), START + timedelta(seconds=seconds)


# --- Statuses ---


@given(histories)
def test_with_thresholds_of_one_the_status_is_that_of_the_last_result(found: list[ProbeResult]) -> None:
    assert states(found, AT_ONCE)[-1].status == found[-1].status


@given(histories, thresholds, flappings)
def test_a_status_is_always_one_that_was_found(
    found: list[ProbeResult], given: Thresholds, flapping: str
) -> None:
    every = states(found, given, flapping=flapping)
    for number, state in enumerate(every[1:], 1):
        assert state.status in {every[number - 1].status, found[number - 1].status}


@given(histories, thresholds, flappings)
def test_since_is_when_the_present_run_of_one_status_began(
    found: list[ProbeResult], given: Thresholds, flapping: str
) -> None:
    every = states(found, given, flapping=flapping)
    run = 0
    while run < len(every) and every[-1 - run].status == every[-1].status:
        run += 1
    assert every[-1].since == START + timedelta(seconds=len(every) - run)


@given(histories, thresholds)
def test_what_is_well_goes_down_by_accidents_only_when_enough_of_them_came_in_a_row(
    found: list[ProbeResult], given: Thresholds
) -> None:
    every = states(found, given, status=Status.HEALTHY)
    for number in range(1, len(every)):
        if every[number - 1].status != Status.HEALTHY or every[number].status == Status.HEALTHY:
            continue
        if found[number - 1].status in rules.WORTH_CONFIRMING:
            last = found[max(0, number - given.failures_to_go_down) : number]
            assert len(last) == given.failures_to_go_down
            assert all(result.status in FAILURES for result in last)


@given(histories, thresholds, flappings)
def test_what_was_down_comes_back_only_after_enough_good_checks_in_a_row(
    found: list[ProbeResult], given: Thresholds, flapping: str
) -> None:
    every = states(found, given, status=Status.OFFLINE, flapping=flapping)
    needed = max(given.successes_to_come_back, rules.SUCCESSES_WHEN_FLAPPING if flapping == "flapping" else 1)
    for number in range(1, len(every)):
        before = every[number - 1].status
        if before in FAILURES and every[number].status in ROUTABLE:
            last = found[max(0, number - needed) : number]
            assert len(last) == needed
            assert all(result.status in ROUTABLE for result in last)


@given(thresholds, st.sampled_from(sorted(rules.WORTH_CONFIRMING)))
def test_lasting_failure_takes_everything_down(given: Thresholds, status: Status) -> None:
    found = [ProbeResult(status)] * given.failures_to_go_down
    assert states(found, given, status=Status.HEALTHY)[-1].status == status


@given(thresholds, st.sampled_from(Status), flappings)
def test_lasting_health_brings_everything_back(given: Thresholds, status: Status, flapping: str) -> None:
    found = [ProbeResult(Status.HEALTHY)] * max(given.successes_to_come_back, rules.SUCCESSES_WHEN_FLAPPING)
    last = states(found, given, status=status, flapping=flapping)[-1]
    assert (last.status, last.reason) == (Status.HEALTHY, "")


@pytest.mark.parametrize("status", [Status.CONFIG_ERROR, Status.RATE_LIMITED, Status.WARMING])
def test_what_a_server_says_on_purpose_counts_at_once(status: Status) -> None:
    assert states([ProbeResult(status)], Thresholds(), status=Status.HEALTHY)[-1].status == status


@given(histories, thresholds)
def test_failures_are_counted_until_a_check_that_is_none(found: list[ProbeResult], given: Thresholds) -> None:
    run = 0
    while run < len(found) and found[-1 - run].status in FAILURES:
        run += 1
    assert states(found, given)[-1].consecutive_failures == run


@given(histories, thresholds, flappings)
def test_a_reason_always_fits_into_its_column(
    found: list[ProbeResult], given: Thresholds, flapping: str
) -> None:
    assert len(states(found, given, flapping=flapping)[-1].reason) <= LONGEST_REASON


# --- The next check ---


def test_a_failure_is_confirmed_within_300_ms() -> None:
    doubted = states([ProbeResult(Status.OFFLINE)], Thresholds(), status=Status.HEALTHY)[-1]
    assert rules.next_check_in(doubted, Pace(5), at=START, jitter=0) <= 0.3


@given(st.floats(0, 1e7), st.floats(1, 1e5), fractions)
def test_what_is_down_is_never_checked_faster_than_its_interval_nor_slower_than_a_minute(
    seconds: float, interval: float, jitter: float
) -> None:
    state, at = down_for(seconds)
    assert interval <= rules.next_check_in(state, Pace(interval), at=at, jitter=jitter) <= max(interval, 60)


@given(st.floats(0, 1e7), fractions)
def test_an_absence_is_noticed_to_be_over_after_at_most_a_quarter_more_of_it(
    seconds: float, jitter: float
) -> None:
    state, at = down_for(seconds)
    assert rules.next_check_in(state, Pace(5), at=at, jitter=jitter) <= max(5, seconds / 4)


def test_endpoints_that_went_down_together_are_not_checked_in_step() -> None:
    state, at = down_for(3600)
    moments = {rules.next_check_in(state, Pace(5), at=at, jitter=tenth / 10) for tenth in range(10)}
    assert len(moments) == 10
    assert max(moments) - min(moments) > 10


def test_an_operator_who_asks_starts_it_at_full_pace() -> None:
    state, at = down_for(3600)
    assert rules.next_check_in(state, Pace(5, asked_at=at), at=at, jitter=0) == 5


def test_the_first_good_check_brings_back_the_full_pace() -> None:
    (_, state) = states([ProbeResult(Status.HEALTHY)], Thresholds(2, 3), status=Status.OFFLINE)
    assert state.status == Status.OFFLINE
    assert rules.next_check_in(state, Pace(5), at=START + timedelta(hours=1), jitter=0) == 5


@pytest.mark.parametrize(("asked", "seconds"), [(1, 5), (90, 90), (1e9, 3600)])
def test_a_retry_after_is_respected_up_to_an_hour(asked: float, seconds: float) -> None:
    state, at = down_for(1, status=Status.RATE_LIMITED)
    assert rules.next_check_in(state, Pace(5, retry_after=asked), at=at, jitter=0.5) == seconds


@pytest.mark.parametrize("times", range(6))
def test_three_times_down_within_the_window_is_flapping(times: int) -> None:
    assert rules.is_flapping(times) == (times >= 3)
