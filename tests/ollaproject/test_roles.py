"""What each role may, whose teams a lead has, and that the groups keep to what is written."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.core.management import CommandError, call_command
from django.test import Client

from ollaproject.apps import install_roles
from ollaproject.wire import roles
from proxy.access import keys

pytestmark = pytest.mark.django_db

RULES = (roles.sees_fleet, roles.calls_models, roles.has_own_keys, roles.enters_admin)
MAY = {
    None: (False, False, False, False),
    roles.VIEWER: (True, False, False, False),
    roles.MEMBER: (True, True, True, False),
    roles.LEAD: (True, True, True, False),
    roles.OPERATOR: (True, True, True, True),
    roles.ADMIN: (True, True, True, True),
}


def someone(*given: str, teams: tuple[str, ...] = ()) -> User:
    user = User.objects.create_user(f"user-{User.objects.count()}")
    roles.grant(user, *given)
    user.groups.add(*(Group.objects.get_or_create(name=name)[0] for name in teams))
    return user


@pytest.mark.parametrize("role", MAY)
def test_a_role_may_what_it_is_for(role: str | None) -> None:
    user = someone(*([role] if role else []))
    assert tuple(rule(user) for rule in RULES) == MAY[role]


def test_roles_add_up() -> None:
    assert roles.roles_of(someone(roles.VIEWER, roles.OPERATOR)) == ["operator", "viewer"]
    assert roles.sees_all_requests(someone(roles.VIEWER, roles.OPERATOR))


def test_whoever_has_no_role_is_told_so() -> None:
    client = Client()
    client.force_login(someone())
    answer = client.get("/")
    assert answer.status_code == 403
    assert "no role that allows it" in answer.content.decode()
    assert client.get("/requests/").status_code == 200


def test_a_lead_leads_the_teams_that_they_are_in_and_roles_are_no_teams() -> None:
    lead, member = someone(roles.LEAD, teams=("red", "blue")), someone(roles.MEMBER, teams=("red",))
    assert set(roles.led_by(lead).values_list("name", flat=True)) == {"red", "blue"}
    assert set(roles.managed_by(lead)) == set(roles.led_by(lead))
    assert not roles.led_by(member).exists()
    assert not roles.managed_by(member).exists()
    assert [team.name for team in roles.teams_of(member)] == ["red"]


def test_a_key_cannot_belong_to_a_role() -> None:
    with pytest.raises(CommandError, match="is a role"):
        call_command("create_key", "laptop", "--team", roles.ADMIN)
    with pytest.raises(Exception, match="team"):
        keys.create(name="laptop", team=Group.objects.get(name=roles.ADMIN))


def test_migrating_sets_the_roles_right_again() -> None:
    viewers = Group.objects.get(name=roles.VIEWER)
    viewers.permissions.set(Permission.objects.filter(codename="delete_apikey"))
    own = Group.objects.create(name="auditors")
    own.permissions.set(Permission.objects.filter(codename="view_usagetotal"))
    for label in ("endpoints", "proxy"):
        install_roles(apps.get_app_config(label))
    assert [each.codename for each in viewers.permissions.all()] == ["view_fleet"]
    assert [each.codename for each in own.permissions.all()] == ["view_usagetotal"]


def test_an_administrator_by_role_enters_the_admin_without_a_flag() -> None:
    client = Client()
    client.force_login(someone(roles.ADMIN))
    assert client.get("/admin/auth/user/").status_code == 200
    assert client.get("/admin/proxy/apikey/").status_code == 200
    client.force_login(someone(roles.OPERATOR))
    assert client.get("/admin/endpoints/endpoint/").status_code == 200
    assert client.get("/admin/proxy/apikey/").status_code == 403
    client.force_login(someone(roles.LEAD))
    assert client.get("/admin/").status_code == 302
