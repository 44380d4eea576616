"""Moves the two counters that every web process watches: `routing`, to rebuild the table, and `activity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import F

from endpoints.models import Revision

if TYPE_CHECKING:
    from django.db.models.expressions import CombinedExpression


def bump(*, routing: bool) -> None:
    """Move `activity`, and `routing` when asked. Inside a transaction it is seen once that is committed."""
    moved = ("routing", "activity") if routing else ("activity",)
    changes = {name: F(name) + 1 for name in moved}
    if not _update(changes):
        Revision.objects.get_or_create(pk=Revision.SINGLETON)
        _update(changes)


def _update(changes: dict[str, CombinedExpression]) -> bool:
    return Revision.objects.filter(pk=Revision.SINGLETON).update(**changes) == 1
