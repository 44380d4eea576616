"""Who has pages open, and what they may do now: asked of the database for all of them at once.

Every message to an open page asks anew. For two hundred pages one by one that is a thousand queries; this
makes five.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.http import HttpRequest

from ollaproject.wire.clock import now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True, slots=True)
class Proof:
    """What Django found: that this session is of this user. It stands while neither row has changed."""

    session_data: str
    user_id: int
    password: str


Proofs = dict[str, Proof]


def people(session_keys: Collection[str], proofs: Proofs) -> dict[str, User]:
    """By session key, whoever is signed in with it now, with their permissions read.

    `proofs` is what earlier calls have found: the caller keeps it, and this keeps it up to date.
    """
    rows = Session.objects.filter(session_key__in=session_keys, expire_date__gt=now())
    stored = dict(rows.values_list("session_key", "session_data"))
    known = {proofs[key].user_id for key in stored if key in proofs}
    users = {user.pk: user for user in User.objects.filter(pk__in=known, is_active=True)}
    found: dict[str, User] = {}
    kept: Proofs = {}
    for key, data in stored.items():
        proof = proofs.get(key)
        user = users.get(proof.user_id) if proof else None
        if proof is None or user is None or proof != Proof(data, user.pk, user.password):
            user = signed_in_with(key)
            if user is None:
                continue
            user = users.setdefault(user.pk, user)
            proof = Proof(data, user.pk, user.password)
        found[key], kept[key] = user, proof
    proofs.clear()
    proofs.update(kept)
    read_permissions(users.values())
    return found


def signed_in_with(session_key: str) -> User | None:
    """As Django itself finds it: also the password must be the one that the session was begun with."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    return user if isinstance(user, User) and user.is_active else None


def read_permissions(users: Iterable[User]) -> None:
    """Give each user object what Django's ModelBackend would read for it when it is first asked."""
    there = {user.pk: user for user in users if not user.is_superuser}
    names = ("content_type__app_label", "codename")
    groups: defaultdict[int, set[int]] = defaultdict(set)
    for user_id, group_id in through(User.groups).filter(user__in=there).values_list("user_id", "group_id"):
        groups[user_id].add(group_id)
    of_group: defaultdict[int, set[str]] = defaultdict(set)
    wanted = set().union(*groups.values())
    for group_id, app, name in Group.objects.filter(pk__in=wanted).values_list(
        "pk", *(f"permissions__{each}" for each in names)
    ):
        of_group[group_id].add(f"{app}.{name}")
    own: defaultdict[int, set[str]] = defaultdict(set)
    for user_id, app, name in Permission.objects.filter(user__in=there).values_list("user", *names):
        own[user_id].add(f"{app}.{name}")
    for pk, user in there.items():
        held: Any = user
        held._perm_cache = own[pk].union(*(of_group[each] for each in groups[pk]))


def through(relation: Any) -> Any:
    """The rows that join two tables."""
    return relation.through._default_manager
