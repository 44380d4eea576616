"""The endpoints' list in the admin: what it shows and finds, and what its actions and buttons do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry

from endpoints.choices import Mode, Status
from endpoints.models import Endpoint, HealthCheck, Transition
from ollaproject.wire.clock import now
from tests.pages.admin_form import LIST, change_url
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("number", [1, 50])
def test_the_list_costs_the_same_few_queries_however_long(
    client: Client, django_assert_num_queries: DjangoAssertNumQueries, number: int
) -> None:
    for index in range(number):
        add_endpoint(f"mini-{index}", models=("a", "b", "c"))
    client.get(LIST)
    # Session, user, two of permissions; the types for the filter; two counts; endpoints with health; models.
    with django_assert_num_queries(9):
        client.get(LIST)


def test_the_list_says_how_each_endpoint_is(client: Client) -> None:
    add_endpoint("mini-2", status=Status.OFFLINE, reason="connection refused", models=("a", "b", "c"))
    html = client.get(LIST).content.decode()
    for piece in ("Offline</span>", "Connection refused", "12 ms", "2 s ago", "1 min", "<li>+1 more</li>"):
        assert piece in html


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=offline", {"down"}),
        ("mode=paused", {"resting"}),
        ("type=openai-compatible", {"other"}),
        ("q=qwen", {"down"}),
        ("q=other.test", {"other"}),
    ],
)
def test_the_list_can_be_filtered_and_searched(client: Client, query: str, found: set[str]) -> None:
    add_endpoint("down", status=Status.OFFLINE, models=("qwen-1", "qwen-2"))
    add_endpoint("resting", mode=Mode.PAUSED)
    add_endpoint("other", type="openai-compatible")
    assert {endpoint.name for endpoint in client.get(f"{LIST}?{query}").context["cl"].result_list} == found


def test_the_change_page_shows_recent_checks_and_transitions(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    for number in range(25):
        HealthCheck.objects.create(endpoint=endpoint, at=now(), status="offline", reason=f"reason {number}")
    Transition.objects.create(
        endpoint=endpoint, at=now(), old_status="healthy", new_status="offline", reason="it broke"
    )
    response = client.get(change_url(endpoint))
    assert len(response.context["checks"]) == 20
    assert b"it broke" in response.content


def test_what_checks_write_cannot_be_edited_by_hand(client: Client) -> None:
    for model in ("healthcheck", "transition", "endpointmodel", "endpointhealth", "revision"):
        assert client.get(f"/admin/endpoints/{model}/").status_code == 404


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("activate", "Put b in service. It is checked now. 1 left as it was."),
        ("check", "Checking a now. 1 left as it was."),
    ],
)
def test_a_bulk_action_acts_where_it_makes_sense_and_says_so(client: Client, action: str, words: str) -> None:
    chosen = [add_endpoint("a").pk, add_endpoint("b", mode=Mode.PAUSED).pk]
    response = client.post(LIST, {"action": action, "_selected_action": chosen}, follow=True)
    assert words in response.content.decode()
    assert Endpoint.objects.get(name="a").mode == Mode.ACTIVE


def test_taking_out_of_service_asks_first_and_takes_whole_hosts_if_wanted(client: Client) -> None:
    chat = add_endpoint("chat", url="http://studio.local:8000")
    add_endpoint("embed", url="http://studio.local:8001")
    add_endpoint("other")
    asked = client.post(LIST, {"action": "maintain", "_selected_action": [chat.pk]}, follow=True)
    html = asked.content.decode()
    assert "Also embed." in html
    assert set(Endpoint.objects.values_list("mode", flat=True)) == {Mode.ACTIVE}

    url = asked.redirect_chain[-1][0]
    assert "neither a time nor a duration" in client.post(url, {"until": "soon"}).content.decode()
    done = client.post(url, {"until": "90m", "whole_host": "on"}, follow=True).content.decode()

    assert "2 endpoints in maintenance until" in done
    modes = dict(Endpoint.objects.values_list("name", "mode"))
    assert modes == {"chat": Mode.MAINTENANCE, "embed": Mode.MAINTENANCE, "other": Mode.ACTIVE}
    chat.refresh_from_db()
    assert chat.maintenance_until is not None
    assert now() + timedelta(minutes=89) < chat.maintenance_until < now() + timedelta(minutes=91)


def test_one_that_has_its_host_for_itself_is_drained_after_one_question(client: Client) -> None:
    chosen = add_endpoint("mini-1")
    asked = client.post(LIST, {"action": "drain", "_selected_action": [chosen.pk]}, follow=True)
    assert "All endpoints of these hosts" not in asked.content.decode()
    assert "Draining mini-1" in client.post(asked.redirect_chain[-1][0], follow=True).content.decode()
    assert Endpoint.objects.get().mode == Mode.DRAINING
    assert client.get(f"{LIST}operate/delete/?ids={chosen.pk}").status_code == 404


def test_a_button_of_the_form_acts_says_so_and_is_logged_in_english(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    response = client.post(f"{LIST}{endpoint.pk}/press/pause/", follow=True)
    assert "mini-1 pausiert" in response.content.decode()
    assert LogEntry.objects.get().get_change_message() == "Pause."
    endpoint.refresh_from_db()
    assert endpoint.mode == Mode.PAUSED


def test_deleting_asks_first_and_counts_what_goes_with_it(client: Client) -> None:
    endpoint = add_endpoint("mini-1")
    HealthCheck.objects.bulk_create(
        HealthCheck(endpoint=endpoint, at=now(), status="healthy") for _ in range(300)
    )
    html = client.get(f"{LIST}{endpoint.pk}/delete/").content.decode()
    assert "300" in html
    assert len(html) < 20_000
    client.post(f"{LIST}{endpoint.pk}/delete/", {"post": "yes"})
    assert not Endpoint.objects.exists()
    assert not HealthCheck.objects.exists()
