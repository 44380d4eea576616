"""Moves the counters that every web process watches: `routing`, `access` (to rebuild a table), `activity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import F

from endpoints.models import Revision

if TYPE_CHECKING:
    from django.db.models.expressions import CombinedExpression


def bump(*, routing: bool = False, access: bool = False) -> None:
    """Move `activity`, and the others when asked. Inside a transaction it is seen once that is committed."""
    moved = ["activity", *(["routing"] if routing else []), *(["access"] if access else [])]
    changes = {name: F(name) + 1 for name in moved}
    if not _update(changes):
        Revision.objects.get_or_create(pk=Revision.SINGLETON)
        _update(changes)


def _update(changes: dict[str, CombinedExpression]) -> bool:
    return Revision.objects.filter(pk=Revision.SINGLETON).update(**changes) == 1
