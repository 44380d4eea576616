"""Checks summed up per minute, hour and day."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from endpoints.choices import Span, Status
from endpoints.models import CheckSummary, Endpoint, HealthCheck
from endpoints.past import retention, rollup

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

    from tests.endpoints.conftest import MakeEndpoint

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = (timedelta(seconds=span) for span in Span)
STATUSES = (Status.HEALTHY, Status.HEALTHY, Status.OFFLINE)


def checks(endpoint: Endpoint, *, begin: datetime, end: datetime, every: float = 5) -> None:
    """Every third one fails; the others take 10, 20, 30 and 40 ms in turns."""
    moments = (begin + timedelta(seconds=number * every) for number in itertools.count())
    during = itertools.takewhile(lambda at: at < end, moments)
    HealthCheck.objects.bulk_create(
        HealthCheck(
            endpoint=endpoint,
            at=at,
            status=STATUSES[number % 3],
            latency_seconds=None if STATUSES[number % 3] == Status.OFFLINE else (number % 4 + 1) / 100,
        )
        for number, at in enumerate(during)
    )


def summaries(span: Span) -> list[CheckSummary]:
    return list(CheckSummary.objects.filter(span=span).order_by("endpoint", "begins_at"))


def test_a_minute_holds_its_checks(make_endpoint: MakeEndpoint) -> None:
    checks(make_endpoint(), begin=NOON, end=NOON + MINUTE)
    assert rollup.roll_up(NOON + 5 * MINUTE) == 1
    (row,) = summaries(Span.MINUTE)
    assert (row.begins_at, row.count, row.failures, row.answered) == (NOON, 12, 4, 8)
    assert (row.latency_min_seconds, row.latency_max_seconds) == (0.01, 0.04)
    assert row.latency_mean_seconds == pytest.approx(0.025)


def test_a_minute_without_an_answer_has_no_latency(make_endpoint: MakeEndpoint) -> None:
    HealthCheck.objects.create(endpoint=make_endpoint(), at=NOON, status=Status.OFFLINE)
    rollup.roll_up(NOON + HOUR)
    (row,) = summaries(Span.MINUTE)
    assert (row.count, row.failures, row.latency_mean_seconds, row.latency_min_seconds) == (1, 1, None, None)


def test_a_minute_that_may_still_get_checks_waits(make_endpoint: MakeEndpoint) -> None:
    checks(make_endpoint(), begin=NOON, end=NOON + MINUTE)
    assert rollup.roll_up(NOON + 2.9 * MINUTE) == 0
    assert rollup.roll_up(NOON + 3 * MINUTE) == 1


def test_hours_and_days_hold_the_sums_of_what_is_finer(make_endpoint: MakeEndpoint) -> None:
    midnight = NOON - 12 * HOUR
    checks(make_endpoint(), begin=midnight, end=midnight + DAY, every=600)
    rollup.roll_up(midnight + DAY + 2 * MINUTE)
    (day,) = summaries(Span.DAY)
    assert (day.begins_at, day.count, day.failures, day.answered) == (midnight, 144, 48, 96)
    assert day.latency_mean_seconds == pytest.approx(0.025)
    for span in (Span.MINUTE, Span.HOUR):
        assert sum(row.count for row in summaries(span)) == 144
        assert sum(row.latency_sum_seconds for row in summaries(span)) == pytest.approx(96 * 0.025)
    assert [row.begins_at for row in summaries(Span.HOUR)] == [midnight + n * HOUR for n in range(24)]


def test_each_endpoint_has_its_own(make_endpoint: MakeEndpoint) -> None:
    first, second = make_endpoint(), make_endpoint()
    checks(first, begin=NOON, end=NOON + MINUTE)
    checks(second, begin=NOON, end=NOON + MINUTE, every=20)
    rollup.roll_up(NOON + HOUR)
    assert [(row.endpoint, row.count) for row in summaries(Span.MINUTE)] == [(first, 12), (second, 3)]


def test_it_goes_on_where_it_was_minute_by_minute(make_endpoint: MakeEndpoint) -> None:
    checks(make_endpoint(), begin=NOON, end=NOON + 2 * HOUR)
    wrote = sum(rollup.roll_up(NOON + minute * MINUTE) for minute in range(125))
    assert wrote == 120 + 2
    assert [row.count for row in summaries(Span.HOUR)] == [720, 720]


def test_what_was_missed_while_no_worker_ran_is_made_up_for(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    checks(endpoint, begin=NOON, end=NOON + MINUTE)
    rollup.roll_up(NOON + 5 * MINUTE)
    checks(endpoint, begin=NOON + 20 * HOUR, end=NOON + 22 * HOUR, every=60)
    rollup.roll_up(NOON + 23 * HOUR)
    assert len(summaries(Span.MINUTE)) == 1 + 120
    assert [row.count for row in summaries(Span.HOUR)] == [12, 60, 60]


def test_nothing_new_costs_six_reads(
    make_endpoint: MakeEndpoint, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    checks(make_endpoint(), begin=NOON, end=NOON + MINUTE)
    rollup.roll_up(NOON + 5 * MINUTE)
    with django_assert_num_queries(6):
        assert rollup.roll_up(NOON + 5 * MINUTE) == 0


@pytest.mark.parametrize(("span", "days"), [(Span.MINUTE, 1), (Span.HOUR, 31), (Span.DAY, 366)])
def test_summaries_are_pruned_when_their_time_is_over(
    make_endpoint: MakeEndpoint, span: Span, days: int
) -> None:
    endpoint = make_endpoint()
    for age in (days - 0.5, days + 0.5):
        CheckSummary.objects.create(
            endpoint=endpoint,
            span=span,
            begins_at=NOON - age * DAY,
            count=1,
            failures=0,
            answered=0,
            latency_sum_seconds=0,
        )
    assert retention.prune(NOON) == 1
    assert summaries(span)[0].begins_at == NOON - (days - 0.5) * DAY
