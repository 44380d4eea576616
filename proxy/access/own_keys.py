"""The keys that people manage by themselves: their own, and as a lead those of their teams.

What these may use is not theirs to say: limits are those of the settings and of the team.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext, ngettext

from ollaproject.wire import clock, roles
from proxy.access import keys
from proxy.models import ApiKey

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from django.contrib.auth.models import Group, User
    from django.db.models import QuerySet

    from proxy.access.keys import Issued

logger = logging.getLogger(__name__)


def of(user: User) -> QuerySet[ApiKey]:
    """A person's own keys."""
    return ApiKey.objects.filter(owner=user).select_related("owner", "team", "team__limits")


def manageable(user: User) -> QuerySet[ApiKey]:
    """Those that a person may rotate and revoke. Keys that act for somebody else are none of them."""
    found = Q(pk__in=())
    if roles.has_own_keys(user):
        found |= Q(owner=user)
    found |= Q(team__in=roles.managed_by(user), rest_api=False)
    return ApiKey.objects.filter(found).select_related("owner", "team")


def teams_to_choose(user: User) -> list[Group]:
    """Whose limits a new key may share: whoever is in a team shares those of one of their teams."""
    return list(roles.teams_of(user).order_by("name"))


def room_for_more(user: User) -> bool:
    working = keys.in_state(ApiKey.objects.filter(owner=user), "active", clock.now())
    return working.count() < settings.OLLA_KEYS_PER_PERSON


def create(
    user: User, *, name: str, team: Group | None, expires_at: datetime | None, models: list[str]
) -> Issued:
    """Make a key of a person's own. Raises ValidationError, by field."""
    teams = teams_to_choose(user)
    if team is None and teams:
        team = teams[0]
    if team is not None and team not in teams:
        raise ValidationError({"team": gettext("You are not in this team.")})
    if not room_for_more(user):
        most = settings.OLLA_KEYS_PER_PERSON
        words = ngettext(
            "You have a key that works, and no more are allowed. Revoke it first.",
            "You have {most} keys that work, and no more are allowed. Revoke one first.",
            most,
        )
        raise ValidationError(words.format(most=most))
    issued = keys.create(name=name, owner=user, team=team, expires_at=expires_at, allowed_models=models)
    logger.info("%s has made the key %s.", user.get_username(), issued.key.name)
    return issued


def create_for(
    member: User, *, lead: User, team: Group, name: str, expires_at: datetime | None, models: list[str]
) -> Issued:
    """Make a key for a member of a team, as its lead. Raises PermissionDenied, and ValidationError by field.

    It is the member's as if they had made it: it counts among theirs, and they may rotate and revoke it.
    """
    if not roles.managed_by(lead).filter(pk=team.pk).exists():
        raise PermissionDenied
    if not roles.members_of(team).filter(pk=member.pk).exists():
        raise ValidationError(
            {
                "member": gettext("{who} is not in the team {team}.").format(
                    who=member.get_username(), team=team.name
                )
            }
        )
    if not room_for_more(member):
        most, who = settings.OLLA_KEYS_PER_PERSON, member.get_username()
        raise ValidationError(
            gettext("{who} has as many working keys as are allowed: {most}. Revoke one first.").format(
                who=who, most=most
            )
        )
    with transaction.atomic():
        issued = keys.create(name=name, owner=member, team=team, expires_at=expires_at, allowed_models=models)
        _remember(lead, issued.key, ADDITION, f"Made for {member.get_username()}.")
    logger.info("%s has made the key %s for %s.", lead.get_username(), issued.key.name, member.get_username())
    return issued


def rotate(user: User, key: ApiKey, *, grace: timedelta) -> Issued:
    logger.info("%s has rotated the key %s.", user.get_username(), key.name)
    issued = keys.rotate(key=key, grace=grace)
    _remember(user, key, CHANGE, "Rotated.")
    return issued


def revoke(user: User, key: ApiKey) -> bool:
    """False when it was revoked already."""
    if not keys.revoke(key=key):
        return False
    logger.info("%s has revoked the key %s.", user.get_username(), key.name)
    _remember(user, key, CHANGE, "Revoked.")
    return True


def _remember(user: User, key: ApiKey, action: int, what: str) -> None:
    """In the history that the admin shows of a key: what somebody did who is not its owner."""
    if key.owner_id != user.pk:
        LogEntry.objects.log_actions(user.pk, [key], action, change_message=what, single_object=True)
