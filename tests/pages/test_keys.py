"""Keys in the admin: made, shown once, rotated, revoked, and found."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.urls import reverse

from ollaproject.wire import clock
from proxy.access import key_table, keys
from proxy.models import ApiKey, PersonLimits, TeamLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

LIST = "/admin/proxy/apikey/"
PLAIN = re.compile(r"sk-olla-[0-9a-f]{12}-[A-Za-z0-9]{40}")


def form(**fields: str) -> dict[str, str]:
    return {
        "name": "ci-bot",
        "enabled": "on",
        "priority": "0",
        "expires_at_0": "",
        "expires_at_1": "",
        **fields,
    }


def holder_of(plain: str) -> key_table.Holder | None:
    return key_table.build().find(plain.encode(), time.time())


def test_a_new_key_is_shown_once(admin_client: Client) -> None:
    assert b"There are no keys yet" in admin_client.get(LIST).content
    team = Group.objects.create(name="red")
    fields = form(team=str(team.pk), allowed_models="a-*\nb", requests_per_minute="60", tokens_per_day="0")

    made = admin_client.post(f"{LIST}add/", fields)
    (plain,) = set(PLAIN.findall(made.content.decode()))
    holder = holder_of(plain)

    assert holder is not None
    assert holder.models.patterns == ("a-*", "b")
    assert (holder.limits.requests_per_minute, holder.limits.tokens_per_day) == (60, None)
    assert "no-store" in made.headers["cache-control"]
    shown = admin_client.get(reverse("admin:proxy_apikey_change", args=[holder.id])).content.decode()
    assert not PLAIN.search(shown)
    assert ApiKey.objects.get().digest not in shown
    assert "ci-bot" in admin_client.get(LIST).content.decode()


def test_a_form_that_makes_no_sense_says_where(admin_client: Client) -> None:
    keys.create(name="ci-bot")

    answer = admin_client.post(f"{LIST}add/", form(allowed_networks="10.0.0.0/99")).content.decode()

    assert "Names must differ" in answer
    assert "“10.0.0.0/99” is neither an address nor a network" in answer
    assert ApiKey.objects.count() == 1


def test_an_edit_keeps_the_secret(admin_client: Client) -> None:
    issued = keys.create(name="ci-bot")

    admin_client.post(
        reverse("admin:proxy_apikey_change", args=[issued.key.pk]), form(name="bot", priority="7")
    )

    holder = holder_of(issued.plain)
    assert holder is not None
    assert (holder.name, holder.priority) == ("bot", 7)


def test_a_key_that_keeps_bodies_is_marked(admin_client: Client) -> None:
    key = keys.create(name="ci-bot").key
    assert "keeps" not in admin_client.get(LIST).content.decode().partition("result_list")[2]
    admin_client.post(reverse("admin:proxy_apikey_change", args=[key.pk]), form(keep_bodies="on"))
    assert "keeps bodies" in admin_client.get(LIST).content.decode()
    page = admin_client.get(reverse("admin:proxy_apikey_change", args=[key.pk])).content.decode()
    assert "Keeps what is asked and answered" in page


def test_a_key_is_rotated_with_a_grace(admin_client: Client) -> None:
    issued = keys.create(name="ci-bot")
    url = reverse("admin:proxy_apikey_rotate", args=[issued.key.pk])

    (plain,) = set(PLAIN.findall(admin_client.post(url, {"grace": "24"}).content.decode()))

    assert plain != issued.plain
    assert holder_of(plain) is not None
    assert holder_of(issued.plain) is not None
    until = ApiKey.objects.get().previous_until
    assert until is not None
    assert timedelta(hours=23) < until - clock.now() < timedelta(hours=25)
    assert admin_client.post(url, {"grace": "for ever"}).status_code == 400


def test_a_key_is_revoked_for_good(admin_client: Client) -> None:
    issued = keys.create(name="ci-bot")
    url = reverse("admin:proxy_apikey_revoke", args=[issued.key.pk])

    said = admin_client.post(url, follow=True).content.decode()
    again = admin_client.post(url, follow=True).content.decode()

    assert "Revoked ci-bot" in said
    assert "was revoked already" in again
    holder = holder_of(issued.plain)
    assert holder is not None
    assert holder.refused(time.time()) == "was revoked"
    rotate = reverse("admin:proxy_apikey_rotate", args=[issued.key.pk])
    assert admin_client.post(rotate, {"grace": "0"}).status_code == 400


@pytest.mark.parametrize("state", keys.STATES)
def test_keys_are_found_by_how_they_stand(admin_client: Client, state: str) -> None:
    closed = User.objects.create_user("closed", is_active=False)
    keys.create(name="is-active", expires_at=clock.now() + timedelta(days=1))
    keys.create(name="is-disabled", enabled=False)
    keys.create(name="also-is-disabled", owner=closed)
    keys.create(name="is-expired", expires_at=clock.now() - timedelta(days=1))
    keys.revoke(key=keys.create(name="is-revoked").key)

    listed = admin_client.get(LIST, {"state": state}).content.decode()

    assert {key.name for key in ApiKey.objects.all() if f">{key.name}<" in listed} == {
        key.name for key in ApiKey.objects.select_related("owner") if keys.state_of(key, clock.now()) == state
    }
    assert f">is-{state}<" in listed


def test_who_may_only_look_cannot_touch(signed_in: SignIn, onlooker: User) -> None:
    onlooker.user_permissions.add(Permission.objects.get(codename="view_apikey"))
    issued = keys.create(name="ci-bot")
    client = signed_in(onlooker)

    assert client.get(reverse("admin:proxy_apikey_change", args=[issued.key.pk])).status_code == 200
    for action in ("rotate", "revoke"):
        url = reverse(f"admin:proxy_apikey_{action}", args=[issued.key.pk])
        assert client.post(url, {"grace": "0"}).status_code == 403
        assert client.get(url).status_code == 405
    assert client.get(f"{LIST}add/").status_code == 403


def test_a_team_gets_limits(admin_client: Client) -> None:
    team = Group.objects.create(name="red")

    admin_client.post("/admin/proxy/teamlimits/add/", {"team": str(team.pk), "tokens_per_month": "500"})

    assert TeamLimits.objects.get().tokens_per_month == 500
    assert b"red" in admin_client.get("/admin/proxy/teamlimits/").content


def test_a_person_gets_limits_and_models(admin_client: Client) -> None:
    ada = User.objects.create(username="ada")
    form = {"person": str(ada.pk), "requests_per_minute": "5", "allowed_models": "small-*\ntiny"}

    page = admin_client.post("/admin/proxy/personlimits/add/", form, follow=True).content.decode()

    limits = PersonLimits.objects.get()
    assert (limits.requests_per_minute, limits.allowed_models) == (5, ["small-*", "tiny"])
    assert "Limits of ada" in page
    assert "OLLA_PERSON_LIMITS" in admin_client.get("/admin/proxy/personlimits/add/").content.decode()


def test_the_list_of_keys_costs_the_same_however_many_there_are(
    admin_client: Client, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    team = Group.objects.create(name="red")
    for number in range(20):
        keys.create(name=f"key-{number}", owner=User.objects.create_user(f"user-{number}"), team=team)

    with django_assert_max_num_queries(9):  # type: ignore[attr-defined]
        admin_client.get(LIST)
