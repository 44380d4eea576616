"""The live figures: true to the rows that all processes write, and cheap however many pages ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ollaproject.wire.clock import now
from proxy import pulse
from proxy.models import Came, WebProcess
from tests.pages.records import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries, Settings

    SignIn = Callable[[User | None], Client]

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    pulse.forget()
    yield
    pulse.forget()


def test_the_figures_are_those_of_the_last_minute() -> None:
    for age in range(10, 60, 5):
        record(age_seconds=age, completion_tokens=60, ttft_ms=100 + age)
    record(age_seconds=20, outcome=Came.FAILED, completion_tokens=None, ttft_ms=None)
    record(age_seconds=200, completion_tokens=6000, endpoint="mini-2")
    # At the end of ten seconds: those of the last that is over are all there.
    at = datetime.fromtimestamp((int(now().timestamp()) // 10 + 1) * 10 + 1, UTC)
    found = pulse.read(at)
    assert found["errors"]["value"] == 1
    assert found["requests"]["value"] == pytest.approx(11 / 60, abs=0.05)
    assert found["tokens"]["value"] == pytest.approx(600 / 60, abs=2.5)
    assert set(found["tokens_at"]) == {"mini-1"}
    assert found["ttft_p50_ms"] == pytest.approx(130, abs=10)
    assert found["ttft_p95_ms"] == 155


def test_a_quiet_gateway_has_figures_too() -> None:
    found = pulse.read(now())
    assert (found["requests"]["value"], found["ttft_p50_ms"], found["tokens_at"]) == (0, None, {})


def test_what_runs_now_is_that_of_all_living_processes(settings: Settings) -> None:
    settings.OLLA_SHARED_COUNTS = True
    for name, seen_at, in_flight in (
        ("a", now(), {"1": 2}),
        ("b", now(), {"1": 1, "2": 4}),
        ("gone", now() - timedelta(minutes=1), {"1": 9}),
    ):
        WebProcess.objects.create(
            id=name, host="here", pid=1, started_at=seen_at, seen_at=seen_at, in_flight=in_flight
        )
    assert pulse.read(now())["running_at"] == {"1": 3, "2": 4}


def test_ten_seconds_that_are_over_are_read_once(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    at = now()
    record(age_seconds=120)
    first = pulse.read(at)
    record(age_seconds=120)  # too late to be seen, which is why nothing is kept before it is settled
    assert pulse.read(at)["requests"]["path"] == first["requests"]["path"]
    record(age_seconds=-5)
    later = pulse.read(at + timedelta(seconds=17))  # its ten seconds are over then, wherever they began
    assert later["requests"]["value"]


def test_many_pages_cost_the_database_one_reading(
    signed_in: SignIn, member: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client = signed_in(member)
    client.get("/figures/")
    with django_assert_num_queries(4):  # session, user, their rights and those of their groups
        client.get("/figures/")
