"""Signals do one thing only: they announce that what says who may call was saved or deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models.signals import post_delete, post_save

from endpoints.routing import revision
from proxy.models import ApiKey, PersonLimits, TeamLimits

if TYPE_CHECKING:
    from collections.abc import Collection

# Signing in writes to a person's row, and changes nothing here.
SIGN_IN = frozenset({"last_login"})


def announce(*, raw: bool = False, update_fields: Collection[str] | None = None, **_: Any) -> None:
    if not raw and frozenset(update_fields or ()) != SIGN_IN:
        revision.bump(access=True)


def connect() -> None:
    for sender in (ApiKey, PersonLimits, TeamLimits, Group, get_user_model()):
        name = f"access.{sender.__name__}"
        post_save.connect(announce, sender=sender, dispatch_uid=f"{name}.saved")
        post_delete.connect(announce, sender=sender, dispatch_uid=f"{name}.deleted")
