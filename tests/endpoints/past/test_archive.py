"""What is read of the past: the right rows, in few queries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache

from endpoints.choices import Status
from endpoints.models import Endpoint, HealthCheck, Transition
from endpoints.past import archive, latency, rollup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def endpoint(name: str) -> Endpoint:
    return Endpoint.objects.create(name=name, url=f"http://{name}.test:8000")


def flip(owner: Endpoint, at: datetime, new: Status) -> None:
    Transition.objects.create(endpoint=owner, at=at, old_status=Status.UNKNOWN, new_status=new)


def check(owner: Endpoint, at: datetime, seconds: float | None) -> None:
    HealthCheck.objects.create(endpoint=owner, at=at, status=Status.HEALTHY, latency_seconds=seconds)


def read_all(at: datetime) -> None:
    rollup.roll_up(at)
    for _ in range(latency.BUCKETS // latency.READ_AT_ONCE):
        latency.series(at)


def test_the_last_flip_before_the_time_comes_first() -> None:
    one, other = endpoint("one"), endpoint("other")
    for hours, status in ((5, Status.HEALTHY), (3, Status.OFFLINE), (1, Status.HEALTHY)):
        flip(one, NOON - hours * HOUR, status)
    flip(other, NOON - 9 * HOUR, Status.HEALTHY)
    found = archive.flips([one.pk, other.pk], since=NOON - 2 * HOUR)
    assert [item.new for item in found[one.pk]] == [Status.OFFLINE, Status.HEALTHY]
    assert [item.at for item in found[other.pk]] == [NOON - 9 * HOUR]


def test_flips_cost_two_queries_however_large_the_fleet(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    endpoints = [endpoint(f"mini-{number}") for number in range(20)]
    for owner in endpoints:
        flip(owner, NOON, Status.HEALTHY)
    with django_assert_num_queries(2):
        assert len(archive.flips([owner.pk for owner in endpoints], since=NOON - HOUR)) == 20


def test_latency_is_the_mean_of_each_half_hour() -> None:
    owner = endpoint("mini-1")
    check(owner, NOON - 2 * HOUR, 0.010)
    check(owner, NOON - 2 * HOUR + timedelta(minutes=5), 0.030)
    check(owner, NOON, 0.005)
    check(owner, NOON - HOUR, None)
    rollup.roll_up(NOON)
    found = latency.series(NOON)[owner.pk]
    assert len(found) == latency.BUCKETS
    assert found[-5] == pytest.approx(0.020)
    assert found[-1] == pytest.approx(0.005)
    assert found.count(None) == latency.BUCKETS - 2


def test_half_hours_that_are_over_are_not_read_again(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    owner = endpoint("mini-1")
    check(owner, NOON - 2 * HOUR, 0.010)
    read_all(NOON)
    with django_assert_num_queries(0):
        latency.series(NOON)
    check(owner, NOON + HOUR, 0.040)
    with django_assert_num_queries(2):
        found = latency.series(NOON + HOUR)[owner.pk]
    assert found[-7] == pytest.approx(0.010)
    assert found[-1] == pytest.approx(0.040)


def test_a_long_day_is_read_in_several_steps_the_latest_hours_first() -> None:
    owner = endpoint("mini-1")
    for number in range(latency.BUCKETS):
        check(owner, NOON - number * HOUR / 2, 0.010)
    rollup.roll_up(NOON)
    first = latency.series(NOON)[owner.pk]
    assert first.count(None) == latency.BUCKETS - latency.READ_AT_ONCE
    assert None not in first[-latency.READ_AT_ONCE :]
    read_all(NOON)
    assert None not in latency.series(NOON)[owner.pk]


def test_what_ended_a_day_ago_is_not_shown() -> None:
    owner = endpoint("mini-1")
    check(owner, NOON - 25 * HOUR, 0.010)
    assert latency.series(NOON) == {}
