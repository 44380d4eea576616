"""The health rules and their one writer."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from endpoints import health, operations
from endpoints.choices import Status
from endpoints.findings import Finding, FoundModel, ProbeResult
from endpoints.health import FAILURES, HealthState
from endpoints.models import Endpoint, EndpointHealth, EndpointModel, HealthCheck, Revision, Transition
from ollaproject.wire import clock

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HEALTHY = Finding(ProbeResult(Status.HEALTHY, http_status=200, latency_seconds=0.01))
OFFLINE = Finding(ProbeResult(Status.OFFLINE, "connection refused"))

results = st.builds(ProbeResult, status=st.sampled_from(Status), reason=st.text(max_size=400))


def counters() -> tuple[int, int]:
    row = Revision.objects.get()
    return row.routing, row.activity


# --- The rules ---


@given(st.lists(results, min_size=1, max_size=30))
def test_the_status_is_always_that_of_the_last_result(found: list[ProbeResult]) -> None:
    state = HealthState(status=Status.UNKNOWN, reason="", since=START)
    for seconds, result in enumerate(found):
        state = health.judge(state, result, START + timedelta(seconds=seconds))
    assert state.status == found[-1].status


@given(st.lists(results, min_size=1, max_size=30))
def test_since_is_when_the_present_run_of_one_status_began(found: list[ProbeResult]) -> None:
    state = HealthState(status=Status.UNKNOWN, reason="", since=START)
    statuses = [Status.UNKNOWN]
    for seconds, result in enumerate(found, 1):
        state = health.judge(state, result, START + timedelta(seconds=seconds))
        statuses.append(result.status)
    run = 0
    while run < len(statuses) and statuses[-1 - run] == statuses[-1]:
        run += 1
    assert state.since == START + timedelta(seconds=len(statuses) - run)


@given(st.lists(results, min_size=1, max_size=30))
def test_failures_are_counted_until_a_good_answer(found: list[ProbeResult]) -> None:
    state = HealthState(status=Status.UNKNOWN, reason="", since=START)
    for result in found:
        state = health.judge(state, result, START)
    run = 0
    while run < len(found) and found[-1 - run].status in FAILURES:
        run += 1
    assert state.consecutive_failures == run


@given(results)
def test_a_reason_always_fits_into_its_column(result: ProbeResult) -> None:
    state = health.judge(HealthState(status=Status.UNKNOWN, reason="", since=START), result, START)
    assert len(state.reason) <= health.MAX_REASON_LENGTH


# --- The writer ---


def test_the_first_good_check_brings_an_endpoint_up(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    assert health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    row = EndpointHealth.objects.get()
    assert (row.status, row.since, row.checked_at) == (Status.HEALTHY, at, at)
    assert row.latency_seconds == 0.01
    flip = Transition.objects.get()
    assert (flip.old_status, flip.new_status, flip.at) == (Status.UNKNOWN, Status.HEALTHY, at)


def test_one_failed_check_takes_it_down_with_the_reason(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    health.record(endpoint=endpoint, finding=OFFLINE, at=at + timedelta(seconds=5))
    row = EndpointHealth.objects.get()
    assert (row.status, row.reason) == (Status.OFFLINE, "connection refused")
    assert (row.consecutive_failures, row.latency_seconds) == (1, None)
    assert Transition.objects.first().reason == "connection refused"  # type: ignore[union-attr]


def test_a_check_that_changes_nothing_writes_no_transition(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    routing, activity = counters()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at + timedelta(seconds=5))
    assert Transition.objects.count() == 1
    assert HealthCheck.objects.count() == 2
    assert counters() == (routing, activity + 1)


def test_a_flip_moves_the_routing_table(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    routing, activity = counters()
    health.record(endpoint=endpoint, finding=HEALTHY, at=clock.now())
    assert counters() == (routing + 1, activity + 1)


def test_a_new_reason_is_seen_in_the_routing_table(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=OFFLINE, at=at)
    routing, _ = counters()
    timeout = Finding(ProbeResult(Status.OFFLINE, "no answer within 2s"))
    health.record(endpoint=endpoint, finding=timeout, at=at + timedelta(seconds=5))
    assert counters()[0] == routing + 1
    assert EndpointHealth.objects.get().since == at


def test_the_models_come_with_the_check_that_found_them(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    finding = Finding(ProbeResult(Status.HEALTHY), models=(FoundModel("m1", created=7, max_model_len=4096),))
    health.record(endpoint=endpoint, finding=finding, at=clock.now())
    row = EndpointModel.objects.get()
    assert (row.name, row.created, row.max_model_len) == ("m1", 7, 4096)
    assert EndpointHealth.objects.get().models_synced_at is not None


def test_a_check_of_a_deleted_endpoint_is_dropped(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    Endpoint.objects.all().delete()
    assert not health.record(endpoint=endpoint, finding=HEALTHY, at=clock.now())


def test_a_check_of_what_the_endpoint_was_before_an_edit_is_dropped(make_endpoint: MakeEndpoint) -> None:
    before = make_endpoint()
    edited = Endpoint.objects.get()
    edited.url = "http://127.0.0.1:10"
    edited.save()
    assert not health.record(endpoint=before, finding=HEALTHY, at=clock.now())
    assert health.record(endpoint=edited, finding=OFFLINE, at=clock.now())


def test_a_check_that_was_under_way_when_it_was_paused_is_dropped(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    operations.pause(endpoint=Endpoint.objects.get())
    assert not health.record(endpoint=endpoint, finding=HEALTHY, at=clock.now())


def test_a_check_that_was_overtaken_is_dropped(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=OFFLINE, at=at)
    assert not health.record(endpoint=endpoint, finding=HEALTHY, at=at - timedelta(seconds=1))
    assert EndpointHealth.objects.get().status == Status.OFFLINE


@pytest.mark.django_db(transaction=True)
def test_of_many_writers_at_once_one_writes_the_transition(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    start = threading.Barrier(6)

    def write(seconds: int) -> None:
        start.wait()
        health.record(endpoint=endpoint, finding=HEALTHY, at=at + timedelta(seconds=seconds))
        connection.close()

    threads = [threading.Thread(target=write, args=(seconds,)) for seconds in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Transition.objects.count() == 1


def test_what_is_forgotten_is_unknown(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    health.record(endpoint=endpoint, finding=HEALTHY, at=clock.now())
    health.forget(endpoint=endpoint, reason="paused by an operator")
    row = EndpointHealth.objects.get()
    assert (row.status, row.reason, row.latency_seconds) == (Status.UNKNOWN, "paused by an operator", None)
    assert Transition.objects.filter(new_status=Status.UNKNOWN).count() == 1
