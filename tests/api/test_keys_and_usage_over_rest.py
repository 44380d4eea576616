"""Keys and usage over REST: a secret is told once, all read their own, and no key becomes somebody else."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from rest_framework.test import APIClient

from ollaproject.wire import clock
from proxy.access import key_table, keys
from proxy.models import ApiKey, ModelPrice, UsageTotal
from tests.pages.fleet import add_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.api.conftest import SignIn

pytestmark = pytest.mark.django_db

TODAY = clock.now().date()


@pytest.fixture(autouse=True)
def _own_keys() -> Iterator[None]:
    """The keys of this process are as they were, after each test."""
    before = key_table.keys()
    yield
    key_table.install(before)


def with_key(plain: str) -> APIClient:
    key_table.rebuild()
    client = APIClient()
    client.default_format = "json"
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {plain}")
    return client


def permit(user: User, *names: str) -> User:
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return User.objects.get(pk=user.pk)


@pytest.fixture
def keeper(operator: User) -> User:
    """Someone who may manage keys, and is no superuser."""
    return permit(operator, "add_apikey", "change_apikey", "view_apikey", "delete_apikey")


def used(**more: Any) -> UsageTotal:
    fields: dict[str, Any] = {"day": TODAY, "model": "qwen", "endpoint": "mini-1", "requests": 1}
    return UsageTotal.objects.create(**{**fields, **more})


def test_a_secret_is_told_once(signed_in: SignIn, keeper: User) -> None:
    client = signed_in(keeper)
    made = client.post("/api/keys/", {"name": "laptop", "owner": "ada", "requests_per_minute": 60})
    secret = made.json()["secret"]
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    assert (made.json()["state"], made.json()["requests_per_minute"]) == ("active", 60)
    assert with_key(secret).get("/api/me/").json()["key"]["name"] == "laptop"
    url = f"/api/keys/{made.json()['id']}/"
    assert secret not in client.get(url).content.decode()
    assert secret not in client.get("/api/keys/").content.decode()


@pytest.mark.parametrize("what", ["rotate", "revoke"])
def test_who_may_only_add_keys_touches_no_other_and_who_may_change_them_does(
    signed_in: SignIn, operator: User, what: str
) -> None:
    """As in the admin: another secret of a key is a way to use it."""
    url = f"/api/keys/{keys.create(name='laptop').key.pk}/{what}/"
    asked = {"grace_hours": 1} if what == "rotate" else {}

    assert signed_in(permit(operator, "add_apikey", "view_apikey")).post(url, asked).status_code == 403
    operator.user_permissions.remove(Permission.objects.get(codename="add_apikey"))
    assert signed_in(permit(operator, "change_apikey")).post(url, asked).status_code == 200


@pytest.mark.parametrize("field", ["owner", "team"])
def test_a_name_with_a_nul_is_nobody_s(signed_in: SignIn, keeper: User, field: str) -> None:
    refused = signed_in(keeper).post("/api/keys/", {"name": "laptop", field: "a\0"})

    assert refused.status_code == 400


def test_a_key_that_was_deleted_a_moment_ago_is_not_known() -> None:
    issued = keys.create(name="laptop")
    client = with_key(issued.plain)
    ApiKey.objects.all().delete()  # this process has not heard of it yet

    assert client.get("/api/me/").status_code == 401


def test_rotating_tells_the_next_secret_and_lets_the_old_one_live_a_while(
    signed_in: SignIn, keeper: User
) -> None:
    first = keys.create(name="laptop")
    client = signed_in(keeper)
    url = f"/api/keys/{first.key.pk}/rotate/"
    second = client.post(url, {"grace_hours": 1}).json()["secret"]
    assert with_key(first.plain).get("/api/me/").status_code == 200
    assert with_key(second).get("/api/me/").status_code == 200
    client.post(url, {"grace_hours": 0})
    assert with_key(second).get("/api/me/").status_code == 401


@pytest.mark.parametrize("how", ["revoke", "delete"])
def test_a_revoked_key_is_refused_and_stays_on_record(signed_in: SignIn, keeper: User, how: str) -> None:
    issued = keys.create(name="laptop")
    url = f"/api/keys/{issued.key.pk}/"
    client = signed_in(keeper)
    assert with_key(issued.plain).get("/api/me/").status_code == 200
    _ = client.post(f"{url}revoke/") if how == "revoke" else client.delete(url)
    refused = with_key(issued.plain).get("/api/me/")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert ApiKey.objects.get().revoked_at is not None


def test_a_key_acts_for_its_owner_only_when_it_may(operator: User) -> None:
    add_endpoint("mini-1")
    plain_key = keys.create(name="for models", owner=operator)
    for_owner = keys.create(name="for scripts", owner=operator, rest_api=True)
    refused = with_key(plain_key.plain).get("/api/endpoints/")
    assert refused.status_code == 403
    assert "not act for its owner" in refused.json()["error"]["message"]
    client = with_key(for_owner.plain)
    assert len(client.get("/api/endpoints/").json()["results"]) == 1
    assert client.get("/api/aliases/").status_code == 403  # nor may its owner


def test_no_key_is_a_way_to_become_somebody_else(signed_in: SignIn, keeper: User, admin_user: User) -> None:
    client = signed_in(keeper)
    refused = client.post("/api/keys/", {"name": "a", "owner": "admin", "rest_api": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "rest_api")
    theirs = keys.create(name="b", owner=admin_user, rest_api=True).key
    assert client.post(f"/api/keys/{theirs.pk}/rotate/").status_code == 403
    assert client.patch(f"/api/keys/{theirs.pk}/", {"notes": "mine"}).status_code == 403
    pages = Client()
    pages.force_login(keeper)
    admin_url = f"/admin/proxy/apikey/{theirs.pk}/"
    assert pages.post(f"{admin_url}rotate/", {"grace": "0"}).status_code == 403
    assert pages.post(f"{admin_url}change/", {"name": "mine", "owner": keeper.pk}).status_code == 403
    mine = keys.create(name="c", owner=keeper, rest_api=True).key
    given_away = {"name": "c", "owner": admin_user.pk, "priority": "0", "enabled": "on"}
    assert pages.post(f"/admin/proxy/apikey/{mine.pk}/change/", given_away).status_code == 302
    assert ApiKey.objects.get(pk=mine.pk).owner == keeper
    assert client.patch(f"/api/keys/{mine.pk}/", {"owner": "admin"}).status_code == 400
    assert client.patch(f"/api/keys/{mine.pk}/", {"notes": "mine"}).status_code == 200
    assert not ApiKey.objects.filter(name="a").exists()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": "a", "owner": "nobody"}, "owner"),
        ({"name": "a", "team": "nobody"}, "team"),
        ({"name": "a", "allowed_networks": ["10.0.0.0/99"]}, "allowed_networks"),
        ({"name": "a", "requests_per_minute": -1}, "requests_per_minute"),
        ({"name": "a", "digest": "x"}, "digest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_names_its_field(signed_in: SignIn, keeper: User, body: dict[str, Any], param: str) -> None:
    answer = signed_in(keeper).post("/api/keys/", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("header", "value"),
    [("HTTP_AUTHORIZATION", "Bearer sk-olla-nothing"), ("HTTP_X_API_KEY", "sk-olla-aaaaaaaa-bbbb")],
)
def test_an_unknown_key_is_nobody_even_for_someone_who_has_signed_in(
    operator: User, header: str, value: str
) -> None:
    client = APIClient()
    client.force_login(operator)
    client.credentials(**{header: value})
    assert client.get("/api/endpoints/").status_code == 401


@pytest.mark.parametrize(
    ("whose", "seen"), [("nobody's", 1), ("a person's", 1), ("acting for a person", 2)], ids=str
)
def test_a_key_reads_what_was_used_with_it_unless_it_acts_for_its_owner(
    member: User, whose: str, seen: int
) -> None:
    owner = None if whose == "nobody's" else member
    issued = keys.create(name="batch", owner=owner, rest_api=whose == "acting for a person")
    used(key_id=issued.key.pk, key_name="batch", prompt_tokens=70, user_id=owner.pk if owner else 0)
    used(key_id=issued.key.pk + 1, key_name="private", prompt_tokens=5, user_id=member.pk)
    client = with_key(issued.plain)
    for url in ("/api/me/usage/", "/api/usage/"):
        assert client.get(url).json()["total"]["requests"] == seen
        assert client.get(f"{url}?key=private").json()["total"]["requests"] == seen - 1


@pytest.mark.parametrize(("who", "seen"), [("member", 1), ("lead", 3), ("sees all", 4)])
def test_everyone_sees_their_own_a_lead_the_team_and_some_all(
    signed_in: SignIn, member: User, who: str, seen: int
) -> None:
    team = Group.objects.create(name="blue")
    member.groups.add(team)
    used(user_id=member.pk, user_name="grace")
    used(user_id=member.pk + 1, team_id=team.pk, team_name="blue", requests=2)
    used(user_id=member.pk + 2, team_id=team.pk + 1, team_name="red")
    if who != "member":
        member = permit(member, "view_team_usage" if who == "lead" else "view_usagetotal")
    assert signed_in(member).get("/api/usage/").json()["total"]["requests"] == seen
    assert signed_in(member).get("/api/me/usage/").json()["total"]["requests"] == 1


def test_usage_is_grouped_narrowed_down_and_adds_up(signed_in: SignIn, admin_user: User) -> None:
    yesterday = TODAY - timedelta(days=1)
    used(day=yesterday, key_id=1, key_name="a", prompt_tokens=10, failures=1)
    used(key_id=1, key_name="a", prompt_tokens=20, endpoint="mini-2")
    used(key_id=2, key_name="b", completion_tokens=300, model="llama")
    used(day=TODAY - timedelta(days=40), key_id=2, key_name="b", prompt_tokens=7)
    client = signed_in(admin_user)

    def lines(query: str) -> list[tuple[Any, ...]]:
        found = client.get(f"/api/usage/?{query}").json()["usage"]
        return [(*one["group"].values(), one["requests"], one["prompt_tokens"]) for one in found]

    assert lines("group_by=day") == [(str(yesterday), 1, 10), (str(TODAY), 2, 20)]
    assert lines("group_by=key") == [("b", 1, 0), ("a", 2, 30)]
    assert lines("group_by=key,model&key=a") == [("a", "qwen", 2, 30)]
    assert lines("group_by=endpoint&model=qwen") == [("mini-2", 1, 20), ("mini-1", 1, 10)]
    assert lines("") == [(3, 30)]
    assert lines(f"since={TODAY - timedelta(days=40)}") == [(4, 37)]
    assert lines("team=none") == []


def test_money_is_counted_by_the_most_exact_price(signed_in: SignIn, admin_user: User) -> None:
    ModelPrice.objects.create(pattern="*", prompt=Decimal(1), completion=Decimal(2))
    ModelPrice.objects.create(pattern="qwen*", prompt=Decimal(10), cached=Decimal(1), completion=Decimal(20))
    used(prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=500_000)
    used(model="llama", prompt_tokens=1_000_000, cached_tokens=400_000, completion_tokens=500_000)
    answer = signed_in(admin_user).get("/api/usage/?group_by=model").json()
    assert {one["group"]["model"]: one["cost"] for one in answer["usage"]} == {"qwen": "16.4", "llama": "2"}
    assert answer["total"]["cost"] == "18.4"


def test_a_table_for_spreadsheets_holds_no_formulas(signed_in: SignIn, admin_user: User) -> None:
    used(model='=HYPERLINK("http://evil.test")', prompt_tokens=3)
    answer = signed_in(admin_user).get("/api/usage/?group_by=day,model&as=csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(answer.content.decode()))
    assert row["model"] == '\'=HYPERLINK("http://evil.test")'
    assert (row["day"], row["prompt_tokens"]) == (str(TODAY), "3")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("since=yesterday", "since"),
        ("since=2026-02-01&until=2026-01-01", "since"),
        ("since=2020-01-01", "since"),
        ("group_by=colour", "group_by"),
    ],
    ids=lambda value: value,
)
def test_a_question_that_makes_no_sense_is_refused(
    signed_in: SignIn, member: User, query: str, param: str
) -> None:
    answer = signed_in(member).get(f"/api/usage/?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_nobody_reads_nothing(signed_in: SignIn) -> None:
    for url in ("/api/me/", "/api/me/usage/", "/api/usage/", "/api/keys/", "/api/prices/"):
        assert signed_in(None).get(url).status_code == 401
