"""From the claims of an OpenID provider to an account: who it is, and which roles and teams they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction

from ollaproject.wire import roles
from proxy.access.patterns import Names
from proxy.models import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Claims = Mapping[str, Any]

NOBODY = "none"
LONGEST_NAME = 150


@transaction.atomic
def account_of(claims: Claims) -> User:
    """The account of whoever `claims` are of, made at their first sign-in, with the roles that they have now.

    `claims` have been verified. They hold `iss` and `sub`.
    """
    issuer, subject = claims["iss"], claims["sub"]
    known = Identity.objects.select_related("user").filter(issuer=issuer, subject=subject).first()
    user = known.user if known else _link(claims) or _make(claims)
    if known is None:
        Identity.objects.create(user=user, issuer=issuer, subject=subject)
    _copy_names(user, claims)
    _give_groups(user, claims, is_new=known is None)
    return user


def _link(claims: Claims) -> User | None:
    """An account that was there before, by an address that the provider has verified.

    Never one with Django's flags: whoever can have a mailbox renamed must not become a superuser.
    """
    address = claims.get("email")
    if not address or claims.get("email_verified") is not True:
        return None
    found = User.objects.filter(
        email__iexact=address, is_staff=False, is_superuser=False, identity__isnull=True
    )
    return found[0] if found.count() == 1 else None


def _make(claims: Claims) -> User:
    wanted = str(claims.get("preferred_username") or claims.get("email") or claims["sub"])[:LONGEST_NAME]
    name, number = wanted, 1
    while User.objects.filter(username=name).exists():
        number += 1
        name = f"{wanted[: LONGEST_NAME - 5]}-{number}"
    user = User(username=name)
    user.set_unusable_password()
    user.save()
    return user


def _copy_names(user: User, claims: Claims) -> None:
    user.email = str(claims.get("email") or user.email)
    user.first_name = str(claims.get("given_name") or user.first_name)[:LONGEST_NAME]
    user.last_name = str(claims.get("family_name") or user.last_name)[:LONGEST_NAME]
    user.save(update_fields=["email", "first_name", "last_name"])


def _give_groups(user: User, claims: Claims, *, is_new: bool) -> None:
    """Roles and teams as the provider's groups say. What it does not decide stays as it was given."""
    said = claims.get(settings.OLLA_OIDC_GROUPS_CLAIM)
    named = {said} if isinstance(said, str) else {str(each) for each in said or ()}
    if settings.OLLA_OIDC_ROLES:
        wanted = {role for group, role in settings.OLLA_OIDC_ROLES.items() if group in named}
        _set(user, {roles.PREFIX + each for each in wanted or _default()}, _roles())
    elif is_new:
        roles.grant(user, *(roles.PREFIX + each for each in _default()))
    if settings.OLLA_OIDC_TEAMS:
        ours = Names(settings.OLLA_OIDC_TEAMS)
        teams = {each for each in named if ours.admit(each) and not each.startswith(roles.PREFIX)}
        for name in teams:
            Group.objects.get_or_create(name=name[:LONGEST_NAME])
        there = Group.objects.filter(roles.are_teams()).values_list("name", flat=True)
        _set(user, teams, [name for name in there if ours.admit(name)])


def _default() -> set[str]:
    return {settings.OLLA_OIDC_DEFAULT_ROLE} - {NOBODY}


def _roles() -> list[str]:
    return list(roles.GRANTS)


def _set(user: User, wanted: Iterable[str], decided: Iterable[str]) -> None:
    """Of the groups `decided`, the person is in those `wanted` and in no other."""
    wanted = set(wanted)
    user.groups.remove(*Group.objects.filter(name__in=set(decided) - wanted))
    user.groups.add(*Group.objects.filter(name__in=wanted))
