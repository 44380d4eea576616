"""What can be done with keys: make, rotate, revoke. The admin, the commands and the API all do it here.

A secret is handed out once, by the function that makes it, and stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ollaproject.wire import clock
from proxy.access import key_secrets
from proxy.models import ApiKey

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AnonymousUser, Group, User
    from django.db.models import QuerySet

STATES = ("active", "disabled", "expired", "revoked")
NOT_THEIRS = "Only its owner or a superuser may make, change or rotate a key that acts for its owner."
# How long the secret from before a rotation goes on working unless somebody says otherwise.
DEFAULT_GRACE = timedelta(hours=24)
# What pages offer, as hours and words.
GRACES: Final[dict[str, Any]] = {
    "0": _("not at all"),
    "1": _("an hour"),
    "24": _("a day"),
    "168": _("a week"),
}


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and, this once, what its holder sends."""

    key: ApiKey
    plain: str = field(repr=False)


def create(*, name: str, owner: User | None = None, team: Group | None = None, **settings: Any) -> Issued:
    """Make a key. `settings` are further fields of ApiKey. Raises ValidationError, by field."""
    return issue(key=ApiKey(name=name, owner=owner, team=team, **settings))


def issue(*, key: ApiKey) -> Issued:
    """Give a key that is not stored yet its secret, and store it. Raises ValidationError."""
    key.public_id = key_secrets.new_id()
    plain = _new_secret(key)
    key.full_clean()
    key.save()
    return Issued(key, plain)


def rotate(*, key: ApiKey, grace: timedelta = DEFAULT_GRACE) -> Issued:
    """Give a key another secret. The one that it has goes on working for `grace`; an older one stops now."""
    with transaction.atomic():
        fresh = ApiKey.objects.select_for_update().get(pk=key.pk)
        fresh.previous_digest, fresh.previous_pepper = fresh.digest, fresh.pepper
        fresh.previous_until = clock.now() + grace if grace else None
        fresh.rotated_at = clock.now()
        plain = _new_secret(fresh)
        fresh.save()
    return Issued(fresh, plain)


def pepper_is_old(key: ApiKey) -> bool:
    """Whether its secret is kept under a pepper that signs no more. Its next use changes that."""
    return key.pepper != key_secrets.fingerprint(settings.OLLA_KEY_PEPPERS[0])


def revoke(*, key: ApiKey) -> bool:
    """Close a key for good, everywhere within a second. False when it was revoked already."""
    if key.revoked_at is not None:
        return False
    key.revoked_at = clock.now()
    key.save(update_fields=["revoked_at"])
    return True


def in_state(keys: QuerySet[ApiKey], state: str, now: datetime) -> QuerySet[ApiKey]:
    """Those of some keys that are in one of STATES."""
    if state == "revoked":
        return keys.filter(revoked_at__isnull=False)
    left = keys.filter(revoked_at__isnull=True)
    off = Q(enabled=False) | Q(owner__is_active=False)
    if state == "disabled":
        return left.filter(off)
    left = left.filter(enabled=True).exclude(owner__is_active=False)
    over = Q(expires_at__lte=now)
    return left.filter(over) if state == "expired" else left.exclude(over)


def may_hold(user: User | AnonymousUser, key: ApiKey) -> bool:
    """Whether `user` may have the secret of `key` or decide what it may do.

    A key that acts for its owner is as good as that person's password.
    """
    return not key.rest_api or key.owner_id == user.pk or user.is_superuser


def state_of(key: ApiKey, now: datetime) -> str:
    """One of STATES."""
    if key.revoked_at is not None:
        return "revoked"
    if not key.enabled or (key.owner is not None and not key.owner.is_active):
        return "disabled"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def _new_secret(key: ApiKey) -> str:
    secret = key_secrets.new_secret()
    signed = key_secrets.sign(key.public_id, secret)
    key.digest, key.pepper = signed.digest, signed.pepper
    return key_secrets.written_out(key.public_id, secret)
