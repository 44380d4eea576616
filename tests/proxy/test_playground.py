"""The playground's way in: who may use it, from where, and what of a browser's request an endpoint sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.middleware.csrf import _get_new_csrf_string
from django.test import Client

from endpoints.routing.snapshot import Alias
from ollaproject.wire import roles
from proxy.models import PersonLimits, TeamLimits
from proxy.pages.playground_api import team_of
from tests.proxy.conftest import chat_body, target_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.fakes.upstream import FakeUpstream

    Table = Callable[..., None]

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/playground/api/v1/chat/completions"


@pytest.fixture
def person(transactional_db: None) -> User:
    user = User.objects.create_user("grace")
    roles.grant(user, roles.MEMBER)
    return user


def browser_of(user: User | None) -> dict[str, str]:
    """The headers that the page's own requests carry in this person's browser."""
    token = _get_new_csrf_string()
    cookies = {settings.CSRF_COOKIE_NAME: token}
    if user is not None:
        client = Client()
        client.force_login(user)
        cookies[settings.SESSION_COOKIE_NAME] = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {"X-CSRFToken": token, "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}


def test_whoever_is_signed_in_talks_to_a_model(
    client: httpx.Client, table: Table, upstream: FakeUpstream, person: User
) -> None:
    table(target_for(upstream))
    answer = client.post(URL, json=chat_body(), headers=browser_of(person))
    assert answer.status_code == 200
    assert answer.headers["X-Olla-Endpoint"]
    assert answer.json()["choices"]


def test_an_endpoint_sees_nothing_of_the_browser_s_session(
    client: httpx.Client, table: Table, upstream: FakeUpstream, person: User
) -> None:
    table(target_for(upstream))
    client.post(URL, json=chat_body(), headers={**browser_of(person), "Referer": f"{client.base_url}/x"})
    names = {name.lower() for name, _ in upstream.requests[-1].headers}
    assert names & {"cookie", "x-csrftoken", "referer", "origin", "authorization"} == set()
    assert upstream.requests[-1].path == "/v1/chat/completions"


@pytest.mark.parametrize("known", ["nobody", "closed account", "stale session"])
def test_whoever_is_not_signed_in_is_refused(
    client: httpx.Client, table: Table, upstream: FakeUpstream, person: User, known: str
) -> None:
    table(target_for(upstream))
    headers = browser_of(None if known == "nobody" else person)
    if known == "closed account":
        User.objects.update(is_active=False)
    if known == "stale session":
        person.set_password("another")
        person.save()
    answer = client.post(URL, json=chat_body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "signed_out")
    assert upstream.requests == []


@pytest.mark.parametrize("forgery", ["no token", "another token", "another origin"])
def test_another_site_cannot_send_a_request_in_someone_s_name(
    client: httpx.Client, table: Table, upstream: FakeUpstream, person: User, forgery: str
) -> None:
    table(target_for(upstream))
    headers = browser_of(person)
    if forgery == "no token":
        del headers["X-CSRFToken"]
    elif forgery == "another token":
        headers["X-CSRFToken"] = _get_new_csrf_string()
    else:
        headers["Origin"] = "https://evil.example"
    answer = client.post(URL, json=chat_body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf_failed")
    assert upstream.requests == []


def test_a_person_may_choose_the_endpoint(
    client: httpx.Client, table: Table, upstreams: Callable[..., FakeUpstream], person: User
) -> None:
    table(
        target_for(upstreams("m1"), number=1, priority=90),
        target_for(upstreams("m1"), number=2, priority=10, name="mini [2]"),
    )
    chosen = {**browser_of(person), "X-Olla-Only-Endpoint": "mini%20%5B2%5D"}
    for _ in range(3):
        assert client.post(URL, json=chat_body(), headers=chosen).headers["X-Olla-Endpoint"] == "mini [2]"
    nowhere = client.post(
        URL, json=chat_body(), headers={**browser_of(person), "X-Olla-Only-Endpoint": "gone"}
    )
    assert nowhere.json()["error"]["code"] in {"model_not_found", "no_healthy_endpoint"}


def test_a_person_has_the_limits_of_their_team(person: User) -> None:
    team = Group.objects.create(name="research")
    TeamLimits.objects.create(team=team, requests_per_minute=3)
    person.groups.add(Group.objects.create(name="a team without limits"), team)
    found = team_of(person)
    assert found is not None
    assert (found.name, found.limits.requests_per_minute) == ("research", 3)


def test_a_person_has_their_own_limits_and_models(
    client: httpx.Client, table: Table, upstreams: Callable[..., FakeUpstream], person: User
) -> None:
    table(target_for(upstreams("m1", "large")))
    PersonLimits.objects.create(person=person, requests_per_minute=1, allowed_models=["m*"])
    asked = [
        client.post(URL, json=chat_body(model), headers=browser_of(person)) for model in ("large", "m1", "m1")
    ]
    assert [each.status_code for each in asked] == [403, 200, 429]
    assert f"The person '{person.username}' has reached a limit" in asked[2].json()["error"]["message"]


def test_the_page_offers_what_the_person_may_use(
    table: Table, upstreams: Callable[..., FakeUpstream], person: User
) -> None:
    table(target_for(upstreams("m1", "large")), aliases={"small": Alias(("m1",))})
    team = Group.objects.create(name="research")
    TeamLimits.objects.create(team=team, allowed_models=["m*", "small"])
    person.groups.add(team)
    browser = Client()
    browser.force_login(person)
    offered = [each["name"] for each in browser.get("/playground/").context["choices"]]
    assert offered == ["small", "m1"]


def test_an_endpoint_s_pages_are_not_shown_as_ours(
    client: httpx.Client, table: Table, upstream: FakeUpstream, person: User
) -> None:
    table(target_for(upstream))
    answer = client.get("/playground/api/v1/anything", headers=browser_of(person))
    assert answer.status_code == 405
    assert upstream.requests == []
