"""Signals do one thing only: they announce that an endpoint or an alias was saved or deleted.

A saved endpoint gets its health row, a check that is due at once, and a new routing table. Whoever saves it,
the admin or a command, need not think of that.
"""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from endpoints.health import schedule
from endpoints.models import AliasedModel, Endpoint, ModelAlias
from endpoints.routing import revision


@receiver(post_save, sender=Endpoint, dispatch_uid="endpoints.saved")
def announce_saved(instance: Endpoint, *, raw: bool = False, **_: Any) -> None:
    if raw:  # a fixture brings its own rows
        return
    schedule.check_anew(instance)
    revision.bump(routing=True)


@receiver(post_delete, sender=Endpoint, dispatch_uid="endpoints.deleted")
def announce_deleted(**_: Any) -> None:
    revision.bump(routing=True)


@receiver(post_save, sender=ModelAlias, dispatch_uid="aliases.saved")
@receiver(post_save, sender=AliasedModel, dispatch_uid="aliases.models_saved")
@receiver(post_delete, sender=AliasedModel, dispatch_uid="aliases.models_deleted")
def announce_alias(*, raw: bool = False, **_: Any) -> None:
    if not raw:
        revision.bump(routing=True)
