"""With what status the fleet's pages and buttons answer whom; test_role_matrix has every URL there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from endpoints.choices import Mode
from endpoints.models import Endpoint
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

ADMIN = "/admin/endpoints/endpoint/"
PEOPLE = ("anonymous", "member", "onlooker", "operator")
# Method, URL, and the status for each of PEOPLE.
MATRIX = [
    ("get", "/", (302, 200, 200, 200)),
    ("get", "/endpoints/fleet/", (401, 200, 200, 200)),
    ("post", "/endpoints/{id}/check/", (401, 403, 403, 200)),
    ("post", "/endpoints/{id}/activate/", (401, 403, 403, 200)),
    ("post", "/endpoints/{id}/drain/", (401, 403, 403, 200)),
    ("post", "/endpoints/{id}/pause/", (401, 403, 403, 200)),
    ("post", "/endpoints/{id}/explode/", (401, 403, 403, 404)),
    ("post", "/endpoints/999999/pause/", (401, 403, 403, 404)),
    ("get", "/endpoints/{id}/pause/", (405, 405, 405, 405)),
    ("post", "/", (405, 405, 405, 405)),
    ("get", ADMIN, (302, 302, 200, 200)),
    ("get", f"{ADMIN}add/", (302, 302, 403, 200)),
    ("get", f"{ADMIN}{{id}}/change/", (302, 302, 200, 200)),
    ("get", f"{ADMIN}{{id}}/delete/", (302, 302, 403, 200)),
    ("post", f"{ADMIN}{{id}}/press/pause/", (302, 302, 403, 302)),
    ("post", f"{ADMIN}{{id}}/press/explode/", (302, 302, 403, 404)),
    ("get", f"{ADMIN}{{id}}/press/pause/", (302, 302, 405, 405)),
    ("get", "/models/", (302, 200, 200, 200)),
    ("get", "/models/org/unknown/", (302, 404, 404, 404)),
    ("get", "/figures/", (302, 200, 200, 200)),
    ("get", "/playground/", (302, 200, 200, 200)),
    ("get", "/requests/", (302, 200, 200, 200)),
    ("get", "/requests/unknown/", (302, 404, 404, 404)),
    ("get", "/login/", (200, 302, 302, 302)),
    ("get", "/nothing-here/", (404, 404, 404, 404)),
]


@pytest.mark.parametrize("person", PEOPLE)
def test_everyone_gets_what_is_theirs(request: pytest.FixtureRequest, signed_in: SignIn, person: str) -> None:
    user = None if person == "anonymous" else request.getfixturevalue(person)
    endpoint, client = add_endpoint("mini-1"), signed_in(user)
    expected, found = {}, {}
    for method, url, statuses in MATRIX:
        expected[method, url] = statuses[PEOPLE.index(person)]
        found[method, url] = getattr(client, method)(url.format(id=endpoint.pk)).status_code
    assert found == expected


@pytest.mark.parametrize("person", ["anonymous", "member", "onlooker"])
def test_whoever_may_not_act_changes_nothing(
    request: pytest.FixtureRequest, signed_in: SignIn, person: str
) -> None:
    user = None if person == "anonymous" else request.getfixturevalue(person)
    endpoint = add_endpoint("mini-1")
    client = signed_in(user)
    client.post(f"/endpoints/{endpoint.pk}/pause/")
    client.post(f"{ADMIN}{endpoint.pk}/press/pause/")
    client.post(ADMIN, {"action": "pause", "_selected_action": [endpoint.pk]})
    assert Endpoint.objects.get().mode == Mode.ACTIVE


def test_only_those_who_may_act_see_buttons(
    signed_in: SignIn, member: User, onlooker: User, operator: User
) -> None:
    add_endpoint("mini-1")
    assert b"hx-post" not in signed_in(member).get("/").content
    assert b"hx-post" not in signed_in(onlooker).get("/").content
    assert b"hx-post" in signed_in(operator).get("/").content


def test_a_deactivated_user_is_sent_to_sign_in(signed_in: SignIn, member: User) -> None:
    client = signed_in(member)
    member.is_active = False
    member.save()
    assert client.get("/endpoints/fleet/").headers["HX-Redirect"] == "/login/?next=/"
    assert client.get("/").headers["Location"] == "/login/?next=/"


def test_buttons_need_a_csrf_token(operator: User) -> None:
    from django.test import Client  # noqa: PLC0415

    endpoint = add_endpoint("mini-1")
    client = Client(enforce_csrf_checks=True)
    client.force_login(operator)
    response = client.post(f"/endpoints/{endpoint.pk}/pause/")
    assert response.status_code == 403
    assert "This form is out of date" in response.content.decode()
