"""Who may do what with the fleet over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rest_framework.test import APIClient

from endpoints.choices import Mode
from endpoints.models import Endpoint
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.api.conftest import SignIn

pytestmark = pytest.mark.django_db

ENDPOINTS = "/api/endpoints/"
MATRIX = [
    ("get", ENDPOINTS, (401, 403, 200, 200)),
    ("post", ENDPOINTS, (401, 403, 403, 400)),
    ("get", f"{ENDPOINTS}{{id}}/", (401, 403, 200, 200)),
    ("patch", f"{ENDPOINTS}{{id}}/", (401, 403, 403, 200)),
    ("delete", f"{ENDPOINTS}{{id}}/", (401, 403, 403, 204)),
    ("post", f"{ENDPOINTS}{{id}}/pause/", (401, 403, 403, 200)),
    ("post", f"{ENDPOINTS}{{id}}/check/", (401, 403, 403, 202)),
    ("get", f"{ENDPOINTS}{{id}}/checks/", (401, 403, 200, 200)),
    ("get", f"{ENDPOINTS}{{id}}/changes/", (401, 403, 200, 200)),
    ("get", "/api/aliases/", (401, 403, 403, 403)),
    ("get", "/api/export/", (401, 403, 200, 200)),
    ("post", "/api/import/", (401, 403, 403, 400)),
    ("get", "/api/schema/", (401, 200, 200, 200)),
    ("get", "/api/docs/", (302, 200, 200, 200)),
    ("get", f"{ENDPOINTS}999999/", (401, 403, 404, 404)),
    ("get", "/api/nothing/", (404, 404, 404, 404)),
    ("get", "/api/", (404, 404, 404, 404)),
]
PEOPLE = ("anonymous", "member", "onlooker", "operator")


@pytest.mark.parametrize("person", PEOPLE)
def test_everyone_may_do_what_is_theirs(
    request: pytest.FixtureRequest, signed_in: SignIn, person: str
) -> None:
    user = None if person == "anonymous" else request.getfixturevalue(person)
    client = signed_in(user)
    for method, url, statuses in MATRIX:
        endpoint, _ = Endpoint.objects.get_or_create(name="mini-1", url="http://mini-1.test")
        answer = getattr(client, method)(url.format(id=endpoint.pk))
        assert (method, url, answer.status_code) == (method, url, statuses[PEOPLE.index(person)])
        if answer.status_code in (400, 401, 403, 404) and "json" in answer.headers["Content-Type"]:
            assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}


def test_a_browser_needs_a_csrf_token(operator: User) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(operator)
    endpoint = add_endpoint("mini-1")
    assert client.post(f"{ENDPOINTS}{endpoint.pk}/pause/").status_code == 403
    assert Endpoint.objects.get().mode == Mode.ACTIVE
