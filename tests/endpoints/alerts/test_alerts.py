"""Alerts: what is told to whom, and when."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse

from endpoints import operations
from endpoints.alerts import alerts
from endpoints.alerts.alert_models import AlertDelivery, AlertKind, ChannelKind
from endpoints.alerts.alert_rules import Event, QuietHours, due_at, headline, lines, retry_in
from endpoints.choices import Status
from endpoints.health import health
from endpoints.health.findings import Finding, ProbeResult
from ollaproject.wire import clock
from tests.endpoints.alert_channels import channel

if TYPE_CHECKING:
    from pytest_django import DjangoAssertNumQueries

    from endpoints.models import Endpoint
    from tests.endpoints.conftest import MakeEndpoint

pytestmark = pytest.mark.django_db

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(7), BERLIN)


def checked(endpoint: Endpoint, *statuses: Status, reason: str = "") -> None:
    """What so many checks in a row found, each a second after the one before."""
    for status in statuses:
        at = checked.at = checked.at + timedelta(seconds=1)  # type: ignore[attr-defined]
        health.record(endpoint=endpoint, finding=Finding(ProbeResult(status, reason)), at=at)


@pytest.fixture(autouse=True)
def began() -> None:
    checked.at = clock.now() - timedelta(minutes=5)  # type: ignore[attr-defined]


def told() -> list[tuple[str, str]]:
    return list(AlertDelivery.objects.order_by("id").values_list("kind", "text"))


# --- What is told ---


def test_who_goes_down_and_comes_back_is_told_once_each(make_endpoint: MakeEndpoint) -> None:
    channel()
    endpoint = make_endpoint(name="mini-1")
    checked(endpoint, Status.HEALTHY)  # its first check is no news
    checked(endpoint, Status.OFFLINE, Status.OFFLINE, Status.OFFLINE, reason="connection refused")
    checked(endpoint, Status.HEALTHY, Status.HEALTHY)
    assert told() == [
        ("down", "mini-1 is offline: connection refused"),
        ("back", "mini-1 is back: it is healthy"),
    ]
    assert {row.path for row in AlertDelivery.objects.all()} == {reverse("endpoint", args=[endpoint.pk])}


def test_one_that_flaps_is_told_as_such_until_it_is_calm(make_endpoint: MakeEndpoint) -> None:
    channel()
    endpoint = make_endpoint(name="mini-1")
    for _ in range(5):
        checked(endpoint, Status.HEALTHY, Status.HEALTHY, Status.HEALTHY, Status.OFFLINE, Status.OFFLINE)
    assert [kind for kind, _ in told()] == ["down", "back", "down", "back", "flapping"]


def test_who_was_down_and_edited_is_told_to_be_back(make_endpoint: MakeEndpoint) -> None:
    channel()
    endpoint = make_endpoint(name="mini-1")
    checked(endpoint, Status.HEALTHY, Status.OFFLINE, Status.OFFLINE)
    operations.pause(endpoint=endpoint)
    operations.activate(endpoint=endpoint)
    endpoint.refresh_from_db()
    checked(endpoint, Status.HEALTHY)
    assert [kind for kind, _ in told()] == ["down", "back"]


def test_only_who_wants_to_know_is_told(make_endpoint: MakeEndpoint) -> None:
    channel(ChannelKind.WEBHOOK, on_down=False)
    channel(ChannelKind.SLACK, enabled=False)
    channel(ChannelKind.NTFY)
    checked(make_endpoint(), Status.HEALTHY, Status.OFFLINE, Status.OFFLINE)
    assert [row.channel.name for row in AlertDelivery.objects.all()] == ["ops-ntfy"]


def test_a_flip_that_nobody_wants_to_know_of_costs_one_query(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(1):
        alerts.tell(AlertKind.DOWN, "mini-1", "mini-1 is offline")


# --- When ---


@pytest.mark.parametrize(
    ("at", "ends"),
    [
        ("2026-11-25T21:30:00+01:00", None),
        ("2026-11-25T22:00:00+01:00", "2026-11-26T07:00:00+01:00"),
        ("2026-11-26T03:00:00+01:00", "2026-11-26T07:00:00+01:00"),
        ("2026-11-26T07:00:00+01:00", None),
        # The night in which the clocks go back is longer.
        ("2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00"),
    ],
)
def test_quiet_hours_go_over_midnight_and_by_the_clock_on_the_wall(at: str, ends: str | None) -> None:
    found = NIGHT.end_of(datetime.fromisoformat(at).astimezone(UTC))
    assert found == (datetime.fromisoformat(ends) if ends else None)


def test_a_test_waits_for_nothing_and_others_for_their_group_or_the_morning() -> None:
    at = datetime(2026, 11, 25, 22, 30, tzinfo=UTC)
    assert due_at(Event(at, AlertKind.TEST, "", ""), group_seconds=10, quiet=NIGHT) == at
    down = Event(at, AlertKind.DOWN, "", "")
    assert due_at(down, group_seconds=10, quiet=None) == at + timedelta(seconds=10)
    assert due_at(down, group_seconds=10, quiet=NIGHT) == datetime(2026, 11, 26, 6, tzinfo=UTC)


def test_it_is_tried_again_ever_more_seldom_and_at_last_given_up() -> None:
    waits = [retry_in(attempts, asked=None) for attempts in range(1, 7)]
    assert waits == [10, 30, 120, 600, 1800, None]
    assert retry_in(1, asked=60) == 60
    assert retry_in(1, asked=10**9) == 3600


def test_several_are_counted_in_one_line_and_listed_in_order() -> None:
    at = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    back = Event(at + timedelta(seconds=9), AlertKind.BACK, "a", "a is back")
    downs = [
        Event(at + timedelta(seconds=number), AlertKind.DOWN, "", f"{number} is down") for number in (2, 1)
    ]
    assert headline([back]) == "a is back"
    assert headline([back, *downs]) == "2 down, 1 back"
    assert lines([back, *downs], BERLIN) == ["13:00:01 1 is down", "13:00:02 2 is down", "13:00:09 a is back"]
    assert lines(downs * 20, BERLIN)[-1] == "and 15 more"
