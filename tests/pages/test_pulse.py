"""The live figures: true to the rows that all processes write, and cheap however many pages ask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from ollaproject.wire.clock import now
from proxy.models import Came, WebProcess
from proxy.records import pulse
from tests.pages.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.conf import LazySettings
    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

    from tests.pages.conftest import SignIn

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


def test_what_is_under_way_in_all_processes_is_shown_and_drawn_while_a_page_looks(
    settings: LazySettings,
) -> None:
    settings.OLLA_SHARED_COUNTS = True
    at = now()
    for number, seen_at in (("a", at), ("b", at), ("gone", at - timedelta(minutes=1))):
        WebProcess.objects.create(
            id=number, host="h", pid=1, started_at=at, seen_at=seen_at, in_flight={"7": 2, "8": 1}, waiting=3
        )
    found = pulse.read(at)
    assert (found["in_flight"]["value"], found["waiting"]["value"]) == (6, 6)
    assert found["running_at"] == {"7": 4, "8": 2}
    WebProcess.objects.update(in_flight={}, waiting=0)
    later = pulse.read(at + timedelta(seconds=10))
    assert later["in_flight"]["value"] == 0
    assert later["in_flight"]["path"] == "M28 13l1 87"


def test_nothing_is_said_of_what_is_under_way_where_processes_do_not_share_it(settings: LazySettings) -> None:
    settings.OLLA_SHARED_COUNTS = False
    assert pulse.read(now())["in_flight"] == {"value": None, "path": ""}


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
