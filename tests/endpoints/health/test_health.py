"""The one writer of health."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from endpoints import operations
from endpoints.choices import Status
from endpoints.health import health, schedule
from endpoints.health.findings import Finding, FoundModel, ProbeResult
from endpoints.models import Endpoint, EndpointHealth, EndpointModel, HealthCheck, Revision, Transition
from endpoints.past import archive, history
from ollaproject.wire import clock

if TYPE_CHECKING:
    from tests.endpoints.conftest import MakeEndpoint

HEALTHY = Finding(ProbeResult(Status.HEALTHY, http_status=200, latency_seconds=0.01))
OFFLINE = Finding(ProbeResult(Status.OFFLINE, "connection refused"))


def counters() -> tuple[int, int]:
    row = Revision.objects.get()
    return row.routing, row.activity


def test_the_first_good_check_brings_an_endpoint_up(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    assert health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    row = EndpointHealth.objects.get()
    assert (row.status, row.since, row.checked_at) == (Status.HEALTHY, at, at)
    assert row.latency_seconds == 0.01
    flip = Transition.objects.get()
    assert (flip.old_status, flip.new_status, flip.at) == (Status.UNKNOWN, Status.HEALTHY, at)


def test_one_failed_check_takes_nothing_down(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    routing, _ = counters()
    state = health.record(endpoint=endpoint, finding=OFFLINE, at=at + timedelta(seconds=5))
    assert state is not None
    assert state.doubted
    row = EndpointHealth.objects.get()
    assert (row.status, row.reason, row.consecutive_failures) == (Status.HEALTHY, "", 1)
    assert (Transition.objects.count(), counters()[0]) == (1, routing)
    check = HealthCheck.objects.first()
    assert check is not None
    assert (check.status, check.reason) == (Status.OFFLINE, "connection refused")


def test_a_confirmed_failure_takes_it_down_with_the_reason(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    health.record(endpoint=endpoint, finding=OFFLINE, at=at + timedelta(seconds=5))
    health.record(endpoint=endpoint, finding=OFFLINE, at=at + timedelta(seconds=5.25))
    row = EndpointHealth.objects.get()
    assert (row.status, row.reason) == (Status.OFFLINE, "connection refused")
    assert (row.consecutive_failures, row.latency_seconds) == (2, None)
    assert Transition.objects.first().reason == "connection refused"  # type: ignore[union-attr]


def test_an_incident_names_the_models_that_went_with_it(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    found = (FoundModel("qwen"), FoundModel("llama"))
    health.record(endpoint=endpoint, finding=Finding(HEALTHY.result, models=found), at=at)
    for seconds, finding in ((5, OFFLINE), (5.25, OFFLINE), (10, HEALTHY)):
        health.record(endpoint=endpoint, finding=finding, at=at + timedelta(seconds=seconds))
    EndpointModel.objects.all().delete()  # what it serves later changes no history
    flips = archive.flips([endpoint.pk], since=at - timedelta(days=1))[endpoint.pk]
    (incident,) = history.incidents(flips)
    assert incident.models == ("llama", "qwen")


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


def go_down_and_come_back(endpoint: Endpoint, *, at: datetime) -> None:
    for number, finding in enumerate((OFFLINE, OFFLINE, HEALTHY)):
        health.record(endpoint=endpoint, finding=finding, at=at + timedelta(seconds=number))


def test_what_goes_down_for_the_third_time_in_ten_minutes_is_flapping_and_comes_back_slowly(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    for minute in (1, 2):
        go_down_and_come_back(endpoint, at=at + timedelta(minutes=minute))
        assert not EndpointHealth.objects.get().flapping
    go_down_and_come_back(endpoint, at=at + timedelta(minutes=3))
    row = EndpointHealth.objects.get()
    assert (row.status, row.flapping) == (Status.OFFLINE, True)
    assert row.reason == ("it answers again: 1 of 3 good checks in a row, for it keeps going up and down")
    for seconds in (10, 20):
        health.record(endpoint=endpoint, finding=HEALTHY, at=at + timedelta(minutes=3, seconds=seconds))
    row = EndpointHealth.objects.get()
    assert (row.status, row.reason, row.flapping) == (Status.HEALTHY, "", True)


def test_what_has_been_quiet_for_ten_minutes_is_no_longer_flapping(make_endpoint: MakeEndpoint) -> None:
    endpoint, at = make_endpoint(), clock.now()
    health.record(endpoint=endpoint, finding=HEALTHY, at=at)
    for minute in (1, 2, 3):
        go_down_and_come_back(endpoint, at=at + timedelta(minutes=minute))
    assert EndpointHealth.objects.get().flapping
    health.record(endpoint=endpoint, finding=HEALTHY, at=at + timedelta(minutes=12))
    assert not EndpointHealth.objects.get().flapping


def down_since(endpoint: Endpoint, *, hours: float) -> datetime:
    """It is down for so long, and a check of it is claimed: the plan has moved on by its interval."""
    now = clock.now()
    EndpointHealth.objects.filter(pk=endpoint.pk).update(
        status=Status.OFFLINE,
        since=now - timedelta(hours=hours),
        asked_at=None,
        next_check_at=now + timedelta(seconds=5),
    )
    return now


def seconds_until_next(at: datetime) -> float:
    return (EndpointHealth.objects.get().next_check_at - at).total_seconds()


def test_what_stays_down_is_checked_about_once_a_minute(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    at = down_since(endpoint, hours=1)
    health.record(endpoint=endpoint, finding=OFFLINE, at=at)
    assert 48 <= seconds_until_next(at) <= 60


def test_our_own_model_is_always_checked_at_full_pace(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint(is_local=True)
    at = down_since(endpoint, hours=1)
    health.record(endpoint=endpoint, finding=OFFLINE, at=at)
    assert seconds_until_next(at) == 5


def test_an_operator_who_asks_starts_the_checks_again_at_full_pace(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    down_since(endpoint, hours=1)
    assert operations.check_now([endpoint]) == 1
    (claim,) = schedule.claim_due(clock.now())
    planned = EndpointHealth.objects.get().next_check_at
    health.record(endpoint=claim.endpoint, finding=OFFLINE, at=clock.now())
    assert EndpointHealth.objects.get().next_check_at == planned


def test_a_check_that_is_due_again_already_is_not_put_off(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    at = down_since(endpoint, hours=1)
    EndpointHealth.objects.update(next_check_at=at)
    health.record(endpoint=endpoint, finding=OFFLINE, at=at)
    assert EndpointHealth.objects.get().next_check_at == at


def test_one_that_limits_our_requests_is_left_alone_for_as_long_as_it_asks(
    make_endpoint: MakeEndpoint,
) -> None:
    endpoint, at = make_endpoint(), clock.now()
    EndpointHealth.objects.update(next_check_at=at + timedelta(seconds=5))
    limited = Finding(ProbeResult(Status.RATE_LIMITED, "429", retry_after_seconds=90))
    health.record(endpoint=endpoint, finding=limited, at=at)
    assert seconds_until_next(at) == 90


def test_what_is_forgotten_is_unknown(make_endpoint: MakeEndpoint) -> None:
    endpoint = make_endpoint()
    health.record(endpoint=endpoint, finding=HEALTHY, at=clock.now())
    health.forget(endpoint=endpoint, reason="paused by an operator")
    row = EndpointHealth.objects.get()
    assert (row.status, row.reason, row.latency_seconds) == (Status.UNKNOWN, "paused by an operator", None)
    assert Transition.objects.filter(new_status=Status.UNKNOWN).count() == 1
