"""Roles: who may see and do what. Pages, REST, pushed updates and commands all ask here.

A role is a Django group whose name begins with `role:`, given to people in the admin; any other group is a
team. What a role may is written in GRANTS and set anew at every `migrate`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from django.apps import apps
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Q

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.contrib.auth.models import AnonymousUser, Group, User
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponseBase

    Person = User | AnonymousUser
    Rule = Callable[[Person], bool]
    View = Callable[..., HttpResponseBase]

PREFIX: Final = "role:"
VIEWER, MEMBER, LEAD, OPERATOR, ADMIN = (
    f"{PREFIX}{name}" for name in ("viewer", "member", "lead", "operator", "admin")
)

# --- Rights, as Django's permissions ---

SEE_FLEET: Final = "endpoints.view_fleet"
SEE_ENDPOINTS: Final = "endpoints.view_endpoint"
CHANGE_ENDPOINTS: Final = "endpoints.change_endpoint"
SEE_LOCAL_MODELS: Final = "inference.view_localmodel"
CHANGE_LOCAL_MODELS: Final = "inference.change_localmodel"
CALL_MODELS: Final = "proxy.call_models"
OWN_KEYS: Final = "proxy.manage_own_keys"
TEAM_KEYS: Final = "proxy.manage_team_keys"
TEAM_USAGE: Final = "proxy.view_team_usage"
ALL_USAGE: Final = "proxy.view_usagetotal"
ALL_REQUESTS: Final = "proxy.view_requestrecord"
READ_BODIES: Final = "proxy.view_keptbody"

# Patterns of permissions. Each role has what the one before it in its line has.
_OF_VIEWERS: Final = (SEE_FLEET,)
_OF_MEMBERS: Final = (*_OF_VIEWERS, CALL_MODELS, OWN_KEYS)
GRANTS: Final = {
    VIEWER: _OF_VIEWERS,
    MEMBER: _OF_MEMBERS,
    LEAD: (*_OF_MEMBERS, TEAM_USAGE, TEAM_KEYS),
    OPERATOR: (*_OF_MEMBERS, "endpoints.*", "inference.*", ALL_REQUESTS),
    ADMIN: ("endpoints.*", "inference.*", "proxy.*", "auth.*", "axes.*"),
}


# --- Rules ---


def signed_in(user: Person) -> bool:
    return bool(user.is_authenticated)


def sees_fleet(user: Person) -> bool:
    """The dashboard, endpoints, models, incidents, and what is pushed to these pages."""
    return user.has_perm(SEE_FLEET) or user.has_perm(SEE_ENDPOINTS)


def sees_local_models(user: Person) -> bool:
    """Their pages are kept up to date by the fleet's live channel."""
    return user.has_perm(SEE_LOCAL_MODELS) and sees_fleet(user)


def calls_models(user: Person) -> bool:
    """With their account, in the playground. With a key, whoever has one may."""
    return user.has_perm(CALL_MODELS)


def enters_admin(user: Person) -> bool:
    """What they find there is a matter of Django's permissions."""
    return user.is_active and (user.is_staff or user.has_perm(CHANGE_ENDPOINTS))


def has_own_keys(user: Person) -> bool:
    """Whether they may make, rotate and revoke keys of their own."""
    return user.has_perm(OWN_KEYS)


def teams_of(user: Person) -> QuerySet[Group]:
    return user.groups.filter(are_teams())


def led_by(user: Person) -> QuerySet[Group]:
    """The teams whose usage and requests a person may see: those that they are in, if they are a lead."""
    teams = teams_of(user)
    return teams if user.has_perm(TEAM_USAGE) else teams.none()


def sees_all_usage(user: Person) -> bool:
    return user.has_perm(ALL_USAGE)


def sees_all_requests(user: Person) -> bool:
    return user.has_perm(ALL_REQUESTS)


def manages_team_keys(user: Person) -> bool:
    """Whether they may make, rotate and revoke keys of others, in the teams that they are in."""
    return user.has_perm(TEAM_KEYS)


def managed_by(user: Person) -> QuerySet[Group]:
    """The teams whose keys a person may make, rotate and revoke."""
    teams = teams_of(user)
    return teams if manages_team_keys(user) else teams.none()


def members_of(team: Group) -> QuerySet[User]:
    """Who is in a team and may still sign in, by name."""
    return team.user_set.filter(is_active=True).order_by("username")


def roles_of(user: Person) -> list[str]:
    """The names of a person's roles, without the prefix."""
    names = user.groups.filter(name__startswith=PREFIX).order_by("name").values_list("name", flat=True)
    return [name.removeprefix(PREFIX) for name in names]


def are_teams() -> Q:
    """Of groups: those that are no roles."""
    return ~Q(name__startswith=PREFIX)


def needs(rule: Rule) -> Callable[[View], View]:
    """For a page: who has not signed in is asked to, who may not see it is told so (403)."""

    def of(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            if not rule(request.user):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return checked

    return of


# --- Keeping the groups ---


def grant(user: User, *roles: str) -> None:
    """Give a person roles, such as MEMBER, beside those that they have."""
    groups: Any = apps.get_model("auth", "Group")._default_manager
    user.groups.add(*groups.filter(name__in=roles))


def install(app_label: str, registry: Any = apps) -> None:
    """Make the roles, and give each what GRANTS says of an app's permissions. Those must be there already."""
    groups = registry.get_model("auth", "Group")._default_manager
    permissions = registry.get_model("auth", "Permission")._default_manager
    there = list(permissions.filter(content_type__app_label=app_label))
    ids = {each.pk for each in there}
    for role, patterns in GRANTS.items():
        group, _ = groups.get_or_create(name=role)
        wanted = {each.pk for each in there if _admits(patterns, f"{app_label}.{each.codename}")}
        has = set(group.permissions.filter(pk__in=ids).values_list("pk", flat=True))
        group.permissions.add(*(wanted - has))
        group.permissions.remove(*(has - wanted))


def _admits(patterns: Iterable[str], permission: str) -> bool:
    return any(fnmatchcase(permission, pattern) for pattern in patterns)
