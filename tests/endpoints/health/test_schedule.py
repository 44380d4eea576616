"""When endpoints are checked, and by whom."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from endpoints.choices import Mode, Status
from endpoints.health import health, schedule
from endpoints.health.findings import Finding, ProbeResult
from endpoints.models import Endpoint, EndpointHealth
from ollaproject.wire import clock

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

    from endpoints.health.schedule import Claim
    from tests.endpoints.conftest import MakeEndpoint

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TICK = timedelta(seconds=1)
UP = Finding(ProbeResult(Status.HEALTHY))

moments = st.floats(-3600, 3600).map(lambda seconds: START + timedelta(seconds=seconds))
intervals = st.floats(1, 24 * 3600)


def due_at(moment: datetime) -> None:
    EndpointHealth.objects.update(next_check_at=moment)


@given(moments, intervals, moments)
def test_the_next_check_lies_ahead(due: datetime, interval: float, at: datetime) -> None:
    assert schedule.following(due, interval=interval, at=at) > at


@given(moments, intervals)
def test_a_check_in_time_is_followed_exactly_one_interval_later(due: datetime, interval: float) -> None:
    following = schedule.following(due, interval=interval, at=due - timedelta(seconds=0.5))
    assert following == due + timedelta(seconds=interval)


def test_a_tick_claims_what_falls_due_before_the_next_one_with_its_exact_time(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint = make_endpoint()
    due = START + timedelta(seconds=0.7)
    due_at(due)
    (claim,) = schedule.claim_due(START)
    assert (claim.endpoint, claim.due) == (endpoint, due)


def test_it_leaves_what_is_due_later(make_endpoint: MakeEndpoint) -> None:
    make_endpoint()
    due_at(START + timedelta(seconds=3))
    assert schedule.claim_due(START) == []


@pytest.mark.parametrize("interval", [1, 2.5, 5])
def test_intervals_are_kept_to_the_microsecond_although_ticks_are_not(
    make_endpoint: MakeEndpoint, interval: float
) -> None:
    make_endpoint(check_interval_seconds=interval, check_timeout_seconds=0.5)
    due_at(START)
    lateness = (0, 0.09, 0.03, 0.2, 0.01, 0.15)
    ticks = [START + number * TICK + timedelta(seconds=lateness[number % 6]) for number in range(20)]
    due = [claim.due for tick in ticks for claim in schedule.claim_due(tick)]
    assert due == [START + timedelta(seconds=interval * number) for number in range(len(due))]
    assert len(due) >= 20 / interval


def test_after_the_clock_was_set_back_checks_go_on_and_what_they_find_counts(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint, later = make_endpoint(check_interval_seconds=5), START + timedelta(hours=1)
    due_at(later)
    schedule.claim_due(later)
    assert health.record(endpoint=endpoint, finding=UP, at=later)

    (claim,) = schedule.claim_due(START)
    assert claim.due == START
    assert health.record(endpoint=endpoint, finding=UP, at=START + timedelta(seconds=1))
    assert schedule.claim_due(START + 2 * TICK) == []
    (claim,) = schedule.claim_due(START + 4 * TICK)
    assert claim.due == START + timedelta(seconds=5)


def test_clocks_of_hosts_may_differ_a_little(make_endpoint: MakeEndpoint) -> None:
    endpoint, ahead = make_endpoint(check_interval_seconds=60), START + timedelta(seconds=30)
    due_at(ahead)
    schedule.claim_due(ahead)
    assert health.record(endpoint=endpoint, finding=UP, at=ahead)
    assert schedule.claim_due(START) == []


def test_after_a_long_pause_there_is_one_check_and_no_storm(make_endpoint: MakeEndpoint) -> None:
    make_endpoint(check_interval_seconds=5)
    due_at(START)
    later = START + timedelta(hours=8)
    (claim,) = schedule.claim_due(later)
    assert claim.due == later
    assert later < EndpointHealth.objects.get().next_check_at <= later + timedelta(seconds=5)


def test_what_was_all_overdue_is_not_all_due_together_ever_after(make_endpoint: MakeEndpoint) -> None:
    for _ in range(40):
        make_endpoint(check_interval_seconds=20)
    due_at(START)
    later = START + timedelta(hours=8)
    schedule.claim_due(later)
    planned = EndpointHealth.objects.values_list("next_check_at", flat=True)
    quarters = Counter(int((at - later).total_seconds() / 5.001) for at in planned)
    assert set(quarters) == {0, 1, 2, 3}
    assert max(quarters.values()) < 25


def test_what_was_all_asked_for_is_not_all_due_together_ever_after(make_endpoint: MakeEndpoint) -> None:
    ids = [make_endpoint(check_interval_seconds=20).pk for _ in range(40)]
    due_at(clock.now() + timedelta(seconds=10))
    assert schedule.bring_forward(ids) == 40
    now = clock.now()
    assert len(schedule.claim_due(now)) == 40
    planned = EndpointHealth.objects.values_list("next_check_at", flat=True)
    quarters = Counter(int((at - now).total_seconds() / 5.001) for at in planned)
    assert set(quarters) == {0, 1, 2, 3}
    assert max(quarters.values()) < 25


@pytest.mark.parametrize(("mode", "count"), [(Mode.ACTIVE, 1), (Mode.DRAINING, 1), (Mode.PAUSED, 0)])
def test_a_paused_endpoint_is_not_checked(make_endpoint: MakeEndpoint, mode: Mode, count: int) -> None:
    make_endpoint(mode=mode)
    due_at(START)
    assert len(schedule.claim_due(START)) == count


def test_a_check_can_be_claimed_for_some_endpoints_only(make_endpoint: MakeEndpoint) -> None:
    first, _ = make_endpoint(), make_endpoint()
    due_at(START)
    assert [claim.endpoint for claim in schedule.claim_due(START, only=[first.pk])] == [first]


def test_a_new_endpoint_is_due_at_once(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    assert [claim.endpoint for claim in schedule.claim_due(clock.now())] == [endpoint]


def test_an_edited_endpoint_is_due_at_once_and_its_models_are_read_again(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    far = clock.now() + timedelta(hours=1)
    EndpointHealth.objects.update(next_check_at=far, models_synced_at=clock.now())
    endpoint.url = "http://127.0.0.1:10"
    endpoint.save()
    (claim,) = schedule.claim_due(clock.now())
    assert claim.endpoint.health.models_synced_at is None


def test_nothing_due_costs_one_read(
    make_endpoint: MakeEndpoint, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_endpoint()
    due_at(START + timedelta(hours=1))
    with django_assert_num_queries(1):
        schedule.claim_due(START)


def test_two_hundred_endpoints_are_claimed_in_three_statements(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    endpoints = [Endpoint(name=f"mini-{number}", url="http://127.0.0.1:9") for number in range(200)]
    Endpoint.objects.bulk_create(endpoints)
    EndpointHealth.objects.bulk_create(
        EndpointHealth(endpoint=endpoint, since=START, next_check_at=START) for endpoint in endpoints
    )
    with django_assert_num_queries(5):  # is anything due, begin, read, update, commit
        claims = schedule.claim_due(START)
    assert len(claims) == 200
    assert schedule.claim_due(START) == []


@pytest.mark.django_db(transaction=True)
def test_claimers_at_the_same_moment_never_claim_the_same_check(make_endpoint: MakeEndpoint) -> None:
    for _ in range(20):
        make_endpoint()
    due_at(START)
    start = threading.Barrier(4)
    claimed: list[Claim] = []

    def claim() -> None:
        start.wait()
        claimed.extend(schedule.claim_due(START))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 20
    assert len({claim.endpoint.pk for claim in claimed}) == 20


def test_bringing_a_check_forward_leaves_paused_endpoints_out(make_endpoint: MakeEndpoint) -> None:
    active, paused = make_endpoint(), make_endpoint(mode=Mode.PAUSED)
    due_at(clock.now() + timedelta(hours=1))
    assert schedule.bring_forward([active.pk, paused.pk]) == 1
    assert [claim.endpoint for claim in schedule.claim_due(clock.now())] == [active]
