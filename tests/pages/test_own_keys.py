"""Keys that people manage on the page of usage: their own, and as a lead those of their team."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied

from ollaproject.wire import roles
from proxy.access import key_table, keys, own_keys
from proxy.models import ApiKey
from tests.pages.people import lead

if TYPE_CHECKING:
    from django.conf import LazySettings

    from tests.pages.conftest import SignIn

pytestmark = pytest.mark.django_db

USAGE = "/usage/"
PLAIN = re.compile(r"sk-olla-[0-9a-f]{12}-[A-Za-z0-9]{40}")


def holder_of(plain: str) -> key_table.Holder | None:
    return key_table.build().find(plain.encode(), time.time())


def test_a_member_makes_a_key_that_shares_the_limits_of_their_team(
    signed_in: SignIn, member: User, red: Group
) -> None:
    Group.objects.create(name="blue")
    client = signed_in(member)
    made = client.post("/usage/keys/", {"name": "laptop", "models": "m1 mlx-*", "lifetime": "90"})
    (plain,) = set(PLAIN.findall(made.content.decode()))
    holder = holder_of(plain)
    assert holder is not None
    assert holder.team is not None
    assert (holder.user, holder.team.name, holder.models.patterns) == ("grace", "red", ("m1", "mlx-*"))
    assert holder.expires_at is not None
    assert "no-store" in made.headers["Cache-Control"]
    assert not PLAIN.search(client.get(USAGE).content.decode())


def test_nobody_gives_themselves_more_than_is_theirs(
    signed_in: SignIn, member: User, red: Group, settings: LazySettings
) -> None:
    blue = Group.objects.create(name="blue")
    client = signed_in(member)
    asked = {"name": "a", "team": str(blue.pk), "priority": "9", "rest_api": "on", "requests_per_minute": "0"}
    client.post("/usage/keys/", asked)
    key = ApiKey.objects.get()
    assert (key.team, key.priority, key.rest_api, key.requests_per_minute) == (red, 0, False, None)
    settings.OLLA_KEYS_PER_PERSON = 1
    page = client.post("/usage/keys/", {"name": "b"}, follow=True).content.decode()
    assert "no more are allowed" in page
    assert "Make a key" not in page
    assert ApiKey.objects.count() == 1


def test_a_name_that_is_taken_is_refused_with_a_word(signed_in: SignIn, member: User) -> None:
    keys.create(name="laptop")
    page = signed_in(member).post("/usage/keys/", {"name": "laptop"}, follow=True).content.decode()
    assert "Name: Another key has this name. Names must differ" in page


def test_a_key_without_a_name_is_refused_by_the_name_of_the_field(signed_in: SignIn, member: User) -> None:
    client = signed_in(member)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    page = client.post("/usage/keys/", {"name": ""}, follow=True).content.decode()
    assert "Name: Dieses Feld darf nicht leer sein." in page


def test_a_key_is_rotated_and_revoked_by_its_owner(signed_in: SignIn, member: User) -> None:
    before = keys.create(name="laptop", owner=member)
    client = signed_in(member)
    url = f"/usage/keys/{before.key.pk}"
    (after,) = set(PLAIN.findall(client.post(f"{url}/rotate/", {"grace": "1"}).content.decode()))
    assert holder_of(before.plain)
    assert holder_of(after)
    assert client.post(f"{url}/rotate/", {"grace": "99999"}).status_code == 400
    assert "stops within a second" in client.post(f"{url}/revoke/", follow=True).content.decode()
    refused = holder_of(after)
    assert refused is not None
    assert refused.refused(time.time())
    assert client.post(f"{url}/rotate/", {"grace": "1"}).status_code == 400


def test_keys_of_others_do_not_exist_but_for_the_lead_of_their_team(
    signed_in: SignIn, member: User, operator: User, red: Group
) -> None:
    of_team = keys.create(name="bot", owner=operator, team=red).key
    acting = keys.create(name="script", owner=operator, team=red, rest_api=True).key
    for key in (of_team, acting):
        assert signed_in(member).post(f"/usage/keys/{key.pk}/revoke/").status_code == 404
    client = signed_in(lead(member))
    assert client.post(f"/usage/keys/{acting.pk}/rotate/", {"grace": "1"}).status_code == 404
    answer = client.post(f"/usage/keys/{of_team.pk}/revoke/")
    assert answer.headers["Location"] == f"/usage/?of={red.pk}"
    assert ApiKey.objects.get(name="bot").revoked_at
    assert (LogEntry.objects.get().user, LogEntry.objects.get().get_change_message()) == (member, "Revoked.")


def test_a_lead_makes_a_key_for_a_member_of_their_team(signed_in: SignIn, member: User, red: Group) -> None:
    bob = User.objects.create_user("bob")
    gone = User.objects.create_user("gone", is_active=False)
    for user in (bob, gone):
        user.groups.add(red)
    client = signed_in(lead(member))
    page = client.get(f"{USAGE}?of={red.pk}").content.decode()
    assert f'<option value="{bob.pk}">bob</option>' in page
    assert ">gone</option>" not in page

    asked = {
        "member": str(bob.pk),
        "name": "bob-ci",
        "models": "m1 mlx-*",
        "lifetime": "90",
        "rest_api": "on",
    }
    made = client.post(f"/usage/teams/{red.pk}/keys/", asked)
    html = made.content.decode()
    (plain,) = set(PLAIN.findall(html))
    holder = holder_of(plain)
    assert holder is not None
    assert holder.team is not None
    assert (holder.user, holder.team.name, holder.models.patterns) == ("bob", "red", ("m1", "mlx-*"))
    assert holder.expires_at is not None
    assert not ApiKey.objects.get().rest_api
    assert "It is for bob." in html
    assert f"/usage/?of={red.pk}" in html
    assert "no-store" in made.headers["Cache-Control"]
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id, entry.get_change_message()) == (
        member,
        str(holder.id),
        "Made for bob.",
    )
    after = client.get(f"{USAGE}?of={red.pk}").content.decode()
    assert "bob-ci" in after
    assert not PLAIN.search(after)
    assert "bob-ci" in signed_in(bob).get(USAGE).content.decode()


def test_a_lead_makes_keys_for_nobody_else(
    signed_in: SignIn, member: User, operator: User, red: Group, settings: LazySettings
) -> None:
    blue = Group.objects.create(name="blue")
    operator.groups.add(blue)
    asked = {"member": str(member.pk), "name": "a"}
    for user in (member, operator):
        assert signed_in(user).post(f"/usage/teams/{red.pk}/keys/", asked).status_code == 403
    of_blue = signed_in(lead(operator))
    for number in (red.pk, Group.objects.get(name=roles.MEMBER).pk):
        assert of_blue.post(f"/usage/teams/{number}/keys/", asked).status_code == 404
    with pytest.raises(PermissionDenied):
        own_keys.create_for(member, lead=operator, team=red, name="a", expires_at=None, models=[])
    url = f"/usage/teams/{blue.pk}/keys/"
    for stranger in (str(member.pk), "", "x"):
        said = of_blue.post(url, {**asked, "member": stranger}, follow=True).content.decode()
        assert "Choose somebody who is in the team blue." in said
    keys.create(name="first", owner=operator)
    settings.OLLA_KEYS_PER_PERSON = 1
    said = of_blue.post(url, {**asked, "member": str(operator.pk)}, follow=True).content.decode()
    assert "ada has as many working keys as are allowed: 1." in said
    assert ApiKey.objects.count() == 1


def test_a_viewer_makes_no_keys(signed_in: SignIn, member: User) -> None:
    member.groups.clear()
    roles.grant(member, roles.VIEWER)
    own = keys.create(name="laptop", owner=member).key
    client = signed_in(User.objects.get(pk=member.pk))
    assert client.post("/usage/keys/", {"name": "b"}).status_code == 403
    assert client.post(f"/usage/keys/{own.pk}/rotate/", {"grace": "1"}).status_code == 404
    page = client.get(USAGE).content.decode()
    assert "laptop" in page
    assert "Make a key" not in page


def test_a_key_that_keeps_bodies_says_so(signed_in: SignIn, member: User) -> None:
    keys.create(name="laptop", owner=member, keep_bodies=True)
    assert "Keeps what is asked and answered" in signed_in(member).get(USAGE).content.decode()
