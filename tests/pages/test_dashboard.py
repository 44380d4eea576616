"""The dashboard: what it shows, how often it asks the database, and when it has nothing new to say."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from endpoints.choices import Mode, Status
from endpoints.models import Endpoint, EndpointHealth
from endpoints.past.latency import BUCKETS, READ_AT_ONCE
from ollaproject.wire.clock import now
from tests.pages.fleet import add_endpoint, set_health

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

FRAGMENT = "/endpoints/fleet/"


def test_a_card_says_what_there_is_to_know(signed_in: SignIn, member: User) -> None:
    add_endpoint(
        "mini-2",
        status=Status.OFFLINE,
        reason="connection refused",
        models=("a", "b", "c", "d", "e"),
        since_seconds=250,
    )
    html = signed_in(member).get("/").content.decode()
    for piece in (
        "mini-2",
        "mini-2.test:8000",
        "vllm-mlx",
        "Offline",
        "Connection refused",
        "4 min",
        "12 ms",
        "2 s ago",
    ):
        assert piece in html
    assert "+2 more" in html
    assert "(1 down) Fleet" in html


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_shown_with_its_word_and_an_icon_of_its_own(
    signed_in: SignIn, member: User, status: Status
) -> None:
    add_endpoint("mini-1", status=status)
    html = signed_in(member).get("/").content.decode()
    assert f'icons.svg#{status}"/></svg>{status.label}</span>' in html


def test_a_paused_endpoint_shows_that_and_no_old_status(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1", mode=Mode.PAUSED)
    html = signed_in(member).get("/").content.decode()
    assert "Paused</span>" in html
    assert "Healthy</span>" not in html


def test_names_are_escaped(signed_in: SignIn, member: User) -> None:
    add_endpoint("<script>x</script>", url="http://x.test", reason="<b>no</b>", models=("<i>m</i>",))
    html = signed_in(member).get("/").content.decode()
    for raw in ("<script>x", "<b>no", "<i>m"):
        assert raw not in html


def test_an_empty_fleet_tells_staff_what_to_do_next(signed_in: SignIn, operator: User) -> None:
    html = signed_in(operator).get("/").content.decode()
    assert "/admin/endpoints/endpoint/add/" in html
    assert "import_endpoints" in html
    assert "/models/local/" in html


def test_an_empty_fleet_tells_others_whom_to_ask(signed_in: SignIn, member: User) -> None:
    html = signed_in(member).get("/").content.decode()
    assert "No endpoint yet" in html
    assert "/admin/" not in html


def test_overdue_checks_are_said_to_be_overdue(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1")
    client = signed_in(member)
    assert "overdue" not in client.get("/").content.decode()
    set_health(endpoint, next_check_at=now() - timedelta(minutes=3))
    assert "Health checks are overdue by" in client.get("/").content.decode()


def test_a_paused_endpoint_is_never_overdue(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1", mode=Mode.PAUSED)
    set_health(endpoint, next_check_at=now() - timedelta(days=3))
    assert "overdue" not in signed_in(member).get("/").content.decode()


def test_an_unchanged_fleet_is_answered_with_304(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1")
    client = signed_in(member)
    first = client.get(FRAGMENT)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = client.get(FRAGMENT, headers={"if-none-match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.content == b""


def test_a_change_of_status_is_not_answered_with_304(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1")
    client = signed_in(member)
    etag = client.get(FRAGMENT).headers["ETag"]
    set_health(endpoint, status=Status.OFFLINE)
    changed = client.get(FRAGMENT, headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert b"Offline" in changed.content


def test_an_edit_is_not_answered_with_304(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1")
    client = signed_in(member)
    etag = client.get(FRAGMENT).headers["ETag"]
    endpoint.name = "mini-one"
    endpoint.save()
    assert client.get(FRAGMENT, headers={"if-none-match": etag}).status_code == 200


def test_a_new_right_is_not_answered_with_304(signed_in: SignIn, member: User) -> None:
    add_endpoint("mini-1")
    client = signed_in(member)
    etag = client.get(FRAGMENT).headers["ETag"]
    member.is_staff = member.is_superuser = True
    member.save()
    assert b"hx-post" in client.get(FRAGMENT, headers={"if-none-match": etag}).content


@pytest.mark.parametrize("number", [1, 50])
def test_the_fleet_costs_the_same_few_queries_however_large(
    signed_in: SignIn, member: User, django_assert_num_queries: DjangoAssertNumQueries, number: int
) -> None:
    for index in range(number):
        add_endpoint(f"mini-{index}", models=("a", "b"))
    client = signed_in(member)
    for _ in range(BUCKETS // READ_AT_ONCE + 1):  # until the latency of the whole day is in memory
        client.get("/")
    # Session, user, rights, counters, what is overdue, endpoints with health, models,
    # flips of the last day and the last before it. Latency is kept in memory.
    with django_assert_num_queries(10):
        client.get(FRAGMENT)


def test_an_unchanged_fleet_costs_six_queries(
    signed_in: SignIn, member: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    add_endpoint("mini-1")
    client = signed_in(member)
    etag = client.get(FRAGMENT).headers["ETag"]
    with django_assert_num_queries(6):
        client.get(FRAGMENT, headers={"if-none-match": etag})


def test_what_one_page_has_drawn_is_there_for_the_next_that_asks_for_the_same(
    signed_in: SignIn, member: User, operator: User
) -> None:
    endpoint = add_endpoint("mini-1")
    first, second = signed_in(member), signed_in(member)
    drawn = first.get(FRAGMENT)
    with CaptureQueriesContext(connection) as asked:
        assert second.get(FRAGMENT).content == drawn.content
    assert not [query for query in asked if "endpoints_endpointmodel" in query["sql"]]
    assert b"hx-post" in signed_in(operator).get(FRAGMENT).content
    set_health(endpoint, status=Status.OFFLINE)
    assert b"Offline" in second.get(FRAGMENT).content


def test_fifty_endpoints_stay_below_150_kilobytes(signed_in: SignIn, operator: User) -> None:
    for index in range(50):
        add_endpoint(
            f"mini-{index}", models=tuple(f"mlx-community/Some-Model-{number}" for number in range(4))
        )
    assert len(signed_in(operator).get("/").content) < 150_000


@pytest.mark.parametrize(
    ("action", "mode", "words"),
    [
        ("drain", Mode.DRAINING, "Draining mini-1"),
        ("pause", Mode.PAUSED, "Paused mini-1"),
        ("check", Mode.ACTIVE, "Checking mini-1"),
    ],
)
def test_a_button_acts_and_says_what_happened(
    signed_in: SignIn, operator: User, action: str, mode: Mode, words: str
) -> None:
    endpoint = add_endpoint("mini-1")
    response = signed_in(operator).post(f"/endpoints/{endpoint.pk}/{action}/")
    assert words in json.loads(response.headers["HX-Trigger"])["olla:said"]["text"]
    assert Endpoint.objects.get().mode == mode


def test_resuming_a_paused_endpoint_has_it_checked_at_once(signed_in: SignIn, operator: User) -> None:
    endpoint = add_endpoint("mini-1", mode=Mode.PAUSED)
    signed_in(operator).post(f"/endpoints/{endpoint.pk}/activate/")
    assert Endpoint.objects.get().mode == Mode.ACTIVE
    assert EndpointHealth.objects.get().next_check_at <= now()


def test_checking_a_paused_endpoint_says_why_it_is_not(signed_in: SignIn, operator: User) -> None:
    endpoint = add_endpoint("mini-1", mode=Mode.PAUSED)
    response = signed_in(operator).post(f"/endpoints/{endpoint.pk}/check/")
    assert "put it in service first" in response.headers["HX-Trigger"]


def test_pages_come_with_a_policy_that_allows_no_inline_code(signed_in: SignIn, operator: User) -> None:
    add_endpoint("mini-1")
    response = signed_in(operator).get("/")
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    html = response.content.decode()
    for forbidden in (" style=", " onclick=", "hx-on", "javascript:", "<style"):
        assert forbidden not in html
