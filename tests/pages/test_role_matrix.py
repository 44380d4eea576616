"""Every URL for every role. Who is not named for a URL is turned away there; a URL without an entry fails."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import get_resolver

from endpoints.models import Endpoint
from endpoints.pages.live_hub import Hub, Seat
from endpoints.routing.watch import Change
from ollaproject.wire import clock, roles
from proxy.access import key_table, keys
from proxy.models import ApiKey, UsageTotal
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db

PEOPLE = ("stranger", "key", "key+rest", "no role", "viewer", "member", "lead", "operator", "admin")
STAND_INS = {
    "<str:action>": "pause",
    "<path:app_label>": "endpoints",
    "(?P<app_label>auth|endpoints|proxy|inference|axes)": "endpoints",
    "(?P<url>.*)": "nothing",
    "(?P<pk>[0-9]+)": "{id}",
    "<int:endpoint_id>": "{id}",
    "<str:host>": "nowhere",
    "<str:token>": "unknown",
    "<str:request_id>": "unknown",
    "<path:name>": "org/unknown",
    "<path:object_id>": "{id}",
    "<path:content_type_id>": "1",
    "<int:model_id>": "{id}",
    "<int:channel_id>": "{id}",
    "<int:key_id>": "{id}",
    "<int:team_id>": "{id}",
    "<id>": "{id}",
}


def routes(resolver: Any = None, before: str = "") -> Iterator[str]:
    """Every route that the URL resolver knows."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = before + str(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            yield from routes(pattern, route)
        else:
            yield route


OPEN = frozenset(PEOPLE)
PERSONS = OPEN - {"stranger", "key", "key+rest"}
FLEET = PERSONS - {"no role"}
CALLERS = FLEET - {"viewer"}
OPERATORS = frozenset({"operator", "admin"})
ADMINS = frozenset({"admin"})
LEADS = frozenset({"lead", "admin"})
NOBODY: frozenset[str] = frozenset()
OVER_REST = {
    "key+rest"
}  # the key of an operator that may act for them; `key` is of the same person, and may not

# What routes begin with, as the resolver writes them, and who is let in. The longest beginning counts; `=` at
# its end means this route and none below it.
MATRIX: dict[str, frozenset[str]] = {
    "=": FLEET,
    "login/=": OPEN,
    "logout/=": OPEN,
    "language/=": OPEN,
    "words.js=": OPEN,
    "oidc/": OPEN,
    "status/": OPEN,  # who has a page's secret address
    "endpoints/fleet/=": FLEET,
    "endpoints/<int:endpoint_id>/=": FLEET,
    "endpoints/<int:endpoint_id>/now/=": FLEET,
    "endpoints/<int:endpoint_id>/latency/=": FLEET,
    "endpoints/<int:endpoint_id>/<str:action>/=": OPERATORS,
    "endpoints/<int:endpoint_id>/here/<str:action>/=": OPERATORS,
    "incidents/=": FLEET,
    "figures/=": FLEET,
    "traffic/<int:endpoint_id>/": FLEET,
    "models/=": FLEET,
    "models/<path:name>/=": FLEET,
    "models/local/": OPERATORS,
    "playground/=": CALLERS,
    "requests/=": PERSONS,  # each sees their own
    "requests/<str:request_id>/=": PERSONS,
    "usage/": PERSONS,
    "usage/keys/=": CALLERS,
    "usage/teams/<int:team_id>/keys/=": LEADS,  # of teams that they are in: any other is not there
    "usage/keys/<int:key_id>/": PERSONS,  # of keys that they manage: any other is not there
    "admin/=": OPERATORS,
    "admin/login/=": OPEN,
    "admin/logout/=": OPEN,
    "admin/password_change/": OPERATORS,
    "admin/autocomplete/=": OPERATORS,  # for no model: it is not there
    "admin/jsi18n/=": OPERATORS,
    "admin/r/": OPERATORS,
    "admin/(?P<url>": OPERATORS,
    "admin/^(?P<app_label>": OPERATORS,
    "admin/endpoints/": OPERATORS,
    "admin/inference/": OPERATORS,
    "admin/proxy/": ADMINS,
    "admin/proxy/requestrecord/": OPERATORS,
    "admin/auth/": ADMINS,
    "admin/axes/": ADMINS,
    "api/me/": PERSONS | OVER_REST | {"key"},
    "api/usage/=": PERSONS | OVER_REST | {"key"},  # each sees their own
    "api/schema/=": PERSONS | OVER_REST | {"key"},
    "api/docs/=": PERSONS,
    "api/export/=": OPERATORS | OVER_REST,
    "api/import/=": OPERATORS | OVER_REST,
    "api/hosts/": OPERATORS | OVER_REST,
    "api/^endpoints/": OPERATORS | OVER_REST,
    "api/^aliases/": OPERATORS | OVER_REST,
    "api/^changes/": OPERATORS | OVER_REST,
    "api/^alert-": OPERATORS | OVER_REST,
    "api/^local-models/": OPERATORS | OVER_REST,
    "api/^model-hosts/": OPERATORS | OVER_REST,
    "api/^keys/": ADMINS,
    "api/^person-limits/": ADMINS,
    "api/^prices/": ADMINS,
    "api/^team-limits/": ADMINS,
    "^api/=": OPEN,  # whatever there is not
}
# What nobody adds or deletes by hand, administrators neither.
HISTORY = ("alertdelivery", "change", "requestrecord", "usagetotal", "budgetreached", "statuspage")
COUNTED = ("accessattempt", "accesslog", "accessfailurelog")
NOT_BY_HAND = (
    *(f"/{each}/{act}" for each in HISTORY for act in ("add/", "<path:object_id>/delete/")),
    *(f"/{each}/add/" for each in COUNTED),
)
UNSAFE = ("post", "patch", "delete")


def let_in(route: str) -> frozenset[str]:
    """Raises KeyError for a route without an entry."""
    fits = [
        key for key in MATRIX if key.removesuffix("=") == route or (key[-1:] != "=" and route.startswith(key))
    ]
    if not fits:
        raise KeyError(route)
    return MATRIX[max(fits, key=len)]


def url_of(route: str, number: int) -> str:
    for part, stand_in in STAND_INS.items():
        route = route.replace(part, stand_in.format(id=number))
    assert "<" not in route, f"{route}: say in STAND_INS what stands there"
    return "/" + route.replace("^", "").replace("$", "")


@dataclass(frozen=True, slots=True)
class Visitor:
    person: str
    client: Client
    headers: dict[str, str]

    def outcome(self, method: str, url: str) -> str:
        """`in`, `out`, or `` where the answer says neither: a wrong method, or the admin leads on."""
        answer = getattr(self.client, method)(url, headers=self.headers)
        leads_to = answer.headers.get("Location", "")
        if answer.status_code in (401, 403) or leads_to.startswith(("/login/", "/admin/login/")):
            return "out"
        leads_on = leads_to == "/admin/" or leads_to.endswith("/change/")
        return "" if answer.status_code == 405 or leads_on else "in"


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What pages show is not looked at here, nor what is logged of refusals: both take most of the time."""
    monkeypatch.setattr(TemplateResponse, "rendered_content", "")
    monkeypatch.setattr(logging.getLogger("django.request"), "disabled", True)
    before = key_table.keys()
    yield
    key_table.install(before)


@pytest.fixture
def visitor(request: pytest.FixtureRequest) -> Visitor:
    person: str = request.param
    client, headers = Client(), {}
    if person != "stranger":
        user = User.objects.create_user("somebody")
        role = {"no role": None, "key": roles.OPERATOR, "key+rest": roles.OPERATOR}.get(
            person, f"role:{person}"
        )
        roles.grant(user, *([role] if role else []))
        if person.startswith("key"):
            issued = keys.create(name="k", owner=user, rest_api=person == "key+rest")
            key_table.rebuild()
            headers = {"Authorization": f"Bearer {issued.plain}"}
        else:
            client.force_login(user)
    return Visitor(person, client, headers)


by_everybody = pytest.mark.parametrize("visitor", PEOPLE, indirect=True)


def test_every_url_has_an_entry() -> None:
    found = list(routes())

    assert len(found) > 150
    for route in found:
        let_in(route)


@by_everybody
def test_who_may_look_is_let_in_and_nobody_else(visitor: Visitor) -> None:
    number = add_endpoint("mini-1").pk
    wrong: list[str] = []
    for route in routes():
        if "logout" in route:
            continue  # they would be another visitor from then on
        outcome = visitor.outcome("get", url_of(route, number))
        may = visitor.person in let_in(route) and not is_read_only(route)
        if outcome == ("out" if may else "in"):
            wrong.append(f"{route} {outcome}")
    assert wrong == []


# Of three requests: with the own key, by the same person with another, and by somebody else of the team.
USAGE_SEEN = {"key": (1, 1), "key+rest": (2, 2), "no role": (2, 2), "member": (2, 2), "admin": (2, 3)}


@pytest.mark.parametrize("visitor", USAGE_SEEN, indirect=True)
def test_who_asks_for_usage_sees_as_much_as_their_role_allows(visitor: Visitor) -> None:
    person, key = User.objects.get(), ApiKey.objects.first()
    for key_id, user_id in ((key.pk if key else 7, person.pk), (8, person.pk), (9, person.pk + 1)):
        UsageTotal.objects.create(
            day=clock.now().date(),
            key_id=key_id,
            user_id=user_id,
            model="qwen",
            endpoint="mini-1",
            requests=1,
        )

    found = [
        visitor.client.get(url, headers=visitor.headers).json()["total"]["requests"]
        for url in ("/api/me/usage/", "/api/usage/")
    ]

    assert tuple(found) == USAGE_SEEN[visitor.person]


@by_everybody
def test_who_may_not_act_is_turned_away_whatever_they_send(visitor: Visitor) -> None:
    number = add_endpoint("mini-1").pk
    wrong: list[str] = []
    for route in routes():
        if visitor.person in let_in(route) and not is_read_only(route):
            continue
        methods = UNSAFE if route.startswith("api/") else UNSAFE[:1]
        wrong += [
            f"{each} {route}" for each in methods if visitor.outcome(each, url_of(route, number)) == "in"
        ]
    assert wrong == []
    assert Endpoint.objects.get().mode == "active"


@by_everybody
def test_what_is_pushed_to_open_pages_is_for_who_may_see_them(visitor: Visitor) -> None:
    session = visitor.client.session.session_key if visitor.person in PERSONS else None

    (said,), _ = Hub()._compose([Seat(session)], Change(routing=1, activity=1), {})

    assert (said.frame is not None) == (visitor.person in FLEET)


def is_read_only(route: str) -> bool:
    return route.startswith("admin/") and route.endswith(NOT_BY_HAND)
