"""The page of one endpoint, the list of incidents, and the filter of the fleet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache

from endpoints.choices import AuthKind, Mode, Span, Status
from endpoints.models import CheckSummary, Endpoint, HealthCheck, Transition
from ollaproject.wire.clock import now
from proxy.models import WebProcess
from tests.pages.fleet import SECRET, add_endpoint, set_health
from tests.pages.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.conf import LazySettings
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def outage(endpoint: Endpoint, *, hours_ago: float, minutes: float, reason: str) -> None:
    """It had been healthy, and came back."""
    start = now() - timedelta(hours=hours_ago)
    end = start + timedelta(minutes=minutes)
    for at, old, new, why in (
        (start, Status.HEALTHY, Status.OFFLINE, reason),
        (end, Status.OFFLINE, Status.HEALTHY, ""),
    ):
        Transition.objects.create(endpoint=endpoint, at=at, old_status=old, new_status=new, reason=why)


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_an_outage_shows_in_uptime_in_the_bar_and_with_its_cause(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1", models=("a-model",))
    Transition.objects.create(
        endpoint=endpoint, at=now() - timedelta(days=3), old_status="unknown", new_status="healthy"
    )
    outage(endpoint, hours_ago=5, minutes=144, reason="connection refused")
    html = page(signed_in(member), f"/endpoints/{endpoint.pk}/")
    assert "<dt>24 h</dt><dd>90 %</dd>" in html
    assert 'aria-label="90 % up in 24 h"' in html
    assert '<path class="down"' in html
    assert "Connection refused" in html
    assert "for 2 h 24 min" in html
    assert "a-model" in html


def test_recent_checks_are_listed_and_latency_is_to_be_drawn(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1")
    HealthCheck.objects.create(
        endpoint=endpoint,
        at=now(),
        status=Status.UNHEALTHY,
        reason="the model is not loaded",
        http_status=503,
        latency_seconds=0.021,
    )
    html = page(signed_in(member), f"/endpoints/{endpoint.pk}/")
    for piece in ("HTTP 503", "21 ms", "The model is not loaded", f"/endpoints/{endpoint.pk}/latency/"):
        assert piece in html


def test_what_a_check_was_answered_is_for_those_who_may_see_the_configuration(
    signed_in: SignIn, member: User, operator: User
) -> None:
    endpoint = add_endpoint("mini-1")
    HealthCheck.objects.create(endpoint=endpoint, at=now(), status=Status.HEALTHY, reply="200 OK <b>hi</b>")
    assert "200 OK &lt;b&gt;hi&lt;/b&gt;" in page(signed_in(operator), f"/endpoints/{endpoint.pk}/")
    assert "200 OK" not in page(signed_in(member), f"/endpoints/{endpoint.pk}/")


def test_charts_give_each_step_its_mean_and_longest_and_gaps_where_nothing_is_known(
    signed_in: SignIn, member: User
) -> None:
    endpoint = add_endpoint("mini-1")
    for seconds_ago, total, most in ((120, 0.4, 0.3), (180, 0.2, 0.1)):
        CheckSummary.objects.create(
            endpoint=endpoint,
            span=Span.HOUR,
            begins_at=now().replace(minute=0) - timedelta(minutes=seconds_ago),
            count=4,
            failures=0,
            answered=4,
            latency_sum_seconds=total,
            latency_max_seconds=most,
        )
    client = signed_in(member)
    found = client.get(f"/endpoints/{endpoint.pk}/latency/?span=7d").json()
    assert [value for value in found["lines"][0] if value is not None] == [50.0, 100.0]
    assert found["lines"][1][-4:] == [100.0, 300.0, None, None]
    assert len(found["at"]) == len(found["lines"][0]) == 169
    assert client.get(f"/endpoints/{endpoint.pk}/latency/?span=1y").status_code == 404


@pytest.mark.parametrize("span", ["24h", "7d", "30d", "90d"])
def test_charts_show_what_is_not_summed_up_yet_and_count_nothing_twice(
    signed_in: SignIn, member: User, span: str
) -> None:
    endpoint = add_endpoint("mini-1")
    at = now().replace(second=0, microsecond=0)
    check = {"endpoint": endpoint, "status": Status.HEALTHY}
    HealthCheck.objects.create(at=at - timedelta(minutes=5), latency_seconds=0.1, **check)
    CheckSummary.objects.create(
        endpoint=endpoint,
        span=Span.MINUTE,
        begins_at=at - timedelta(minutes=5),
        count=1,
        failures=0,
        answered=1,
        latency_sum_seconds=0.1,
        latency_max_seconds=0.1,
    )
    HealthCheck.objects.create(at=at, latency_seconds=0.3, **check)
    HealthCheck.objects.create(at=at, latency_seconds=None, **check)
    means, longest = signed_in(member).get(f"/endpoints/{endpoint.pk}/latency/?span={span}").json()["lines"]

    assert [each for each in means if each] in (
        [200.0],
        [100.0, 300.0],
    )  # in one step, or on both sides of its end
    assert max(each for each in longest if each) == 300.0


def test_who_is_on_an_endpoint_is_for_those_who_may_see_everyones_requests(
    signed_in: SignIn, member: User, admin_user: User, settings: LazySettings
) -> None:
    settings.OLLA_SHARED_COUNTS = True
    endpoint = add_endpoint("mini-1")
    at = now()
    guests = [
        {"endpoint": endpoint.pk, "key": "ci", "user": "lin", "model": "m1", "since": at.timestamp() - 5},
        {"endpoint": endpoint.pk + 1, "key": "other", "user": "", "model": "m2", "since": at.timestamp()},
    ]
    WebProcess.objects.create(id="a", host="h", pid=1, started_at=at, seen_at=at, guests=guests)
    record(endpoint="mini-1", user_id=member.pk, ttft_ms=100, model="mine")
    record(endpoint="mini-1", user_id=member.pk + 99, ttft_ms=300, model="theirs")
    html = page(signed_in(admin_user), f"/traffic/{endpoint.pk}/")
    for words in ("1 on it now", "lin", "ci", "mine", "theirs"):
        assert words in html
    assert "other" not in html
    html = page(signed_in(member), f"/traffic/{endpoint.pk}/")
    assert "1 on it now" in html
    for words in ("lin", "theirs"):
        assert words not in html
    times = signed_in(member).get(f"/traffic/{endpoint.pk}/first-byte/").json()["lines"]
    assert [value for value in times[0] if value is not None] == [300.0]


def test_the_configuration_is_for_staff_and_without_secrets(
    signed_in: SignIn, operator: User, member: User
) -> None:
    endpoint = add_endpoint(
        "mini-1",
        auth_kind=AuthKind.BEARER,
        headers={"X-Team": SECRET},
        health_check_url=f"/health?key={SECRET}",
    )
    endpoint.set_credential(SECRET)
    endpoint.save()
    seen = page(signed_in(operator), f"/endpoints/{endpoint.pk}/")
    assert "X-Team" in seen
    assert SECRET not in seen
    assert "X-Team" not in page(signed_in(member), f"/endpoints/{endpoint.pk}/")


def test_a_button_on_the_page_answers_with_the_page(signed_in: SignIn, operator: User) -> None:
    endpoint = add_endpoint("mini-1")
    response = signed_in(operator).post(f"/endpoints/{endpoint.pk}/here/pause/")
    assert "Paused mini-1" in response.headers["HX-Trigger"]
    assert b"Incidents in 90 days" in response.content
    assert Endpoint.objects.get().mode == Mode.PAUSED


def test_the_buttons_are_for_those_who_may_change_endpoints(signed_in: SignIn, member: User) -> None:
    endpoint = add_endpoint("mini-1")
    client = signed_in(member)
    assert "hx-post" not in page(client, f"/endpoints/{endpoint.pk}/")
    assert client.post(f"/endpoints/{endpoint.pk}/here/pause/").status_code == 403


@pytest.mark.parametrize("url", ["/endpoints/{}/", "/incidents/"])
def test_nobody_sees_a_page_without_signing_in(signed_in: SignIn, url: str) -> None:
    response = signed_in(None).get(url.format(add_endpoint("mini-1").pk))
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/login/")


def test_an_open_page_of_a_deleted_endpoint_goes_to_the_fleet(signed_in: SignIn, member: User) -> None:
    response = signed_in(member).get("/endpoints/999999/now/")
    assert (response.status_code, response.headers["HX-Redirect"]) == (404, "/")
    assert signed_in(member).get("/endpoints/999999/").status_code == 404


def test_an_unchanged_endpoint_is_answered_with_304(signed_in: SignIn, member: User) -> None:
    client = signed_in(member)
    url = f"/endpoints/{add_endpoint('mini-1').pk}/now/"
    etag = client.get(url).headers["ETag"]
    assert client.get(url, headers={"if-none-match": etag}).status_code == 304


def test_incidents_of_all_endpoints_come_newest_first(signed_in: SignIn, member: User) -> None:
    outage(add_endpoint("older"), hours_ago=9, minutes=5, reason="no route to host")
    outage(add_endpoint("newer"), hours_ago=2, minutes=5, reason="connection refused")
    html = page(signed_in(member), "/incidents/")
    assert "2 incidents in 90 days" in html
    assert html.index(">newer<") < html.index(">older<")
    assert "No route to host" in html


def test_incidents_are_paged_in_few_queries(
    signed_in: SignIn, member: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(3):
        endpoint = add_endpoint(f"mini-{number}")
        for hours in range(20):
            outage(endpoint, hours_ago=hours + 1, minutes=1, reason="x")
    client = signed_in(member)
    # Session, user, names, flips and the last before them.
    with django_assert_num_queries(7):
        html = page(client, "/incidents/?page=2")
    assert "Page 2 of 2" in html
    assert html.count('<li class="is-over">') == 10


def test_a_fleet_without_incidents_says_so(signed_in: SignIn, member: User) -> None:
    assert "No incident in 90 days" in page(signed_in(member), "/incidents/")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("status=offline", {"b"}),
        ("status=paused", {"c"}),
        ("type=openai-compatible", {"d"}),
        ("model=QWEN", {"a", "b"}),
        ("model=qwen&status=healthy", {"a"}),
        ("", {"a", "b", "c", "d"}),
    ],
)
def test_the_url_says_which_cards_are_shown(
    signed_in: SignIn, member: User, query: str, shown: set[str]
) -> None:
    add_endpoint("a", models=("qwen3-8b",))
    add_endpoint("b", models=("Qwen3-30b",), status=Status.OFFLINE)
    add_endpoint("c", mode=Mode.PAUSED)
    add_endpoint("d", type="openai-compatible")
    response = signed_in(member).get(f"/endpoints/fleet/?{query}")
    assert {card.name for card in response.context["cards"]} == shown


def test_a_filter_that_nothing_fits_says_so_and_stays_chosen(signed_in: SignIn, operator: User) -> None:
    add_endpoint("a")
    add_endpoint("b")
    html = page(signed_in(operator), "/?status=offline&model=llama")
    assert "None of 2 endpoints fits the filter" in html
    assert '<option value="offline" selected>' in html
    assert "Both endpoints serve" in html


def test_the_fleet_is_filtered_by_tag_and_tells_memory_where_it_is_known(
    signed_in: SignIn, member: User
) -> None:
    set_health(add_endpoint("mini-1", tags=["office", "m4"]), memory_bytes=3_200_000_000)
    add_endpoint("mini-2", tags=["lab"])
    html = page(signed_in(member), "/?tag=office")
    assert 'id="endpoint-' in html
    assert "mini-2</a>" not in html
    assert "3.2 GB" in html
    assert "<option selected>office</option>" in html


def test_a_filter_outlives_a_press_of_a_button(signed_in: SignIn, operator: User) -> None:
    endpoint = add_endpoint("a")
    add_endpoint("b", status=Status.OFFLINE)
    html = page(signed_in(operator), "/?status=healthy")
    assert f'hx-post="/endpoints/{endpoint.pk}/drain/?status=healthy"' in html
