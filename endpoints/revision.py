"""Moves the two counters that every web process watches: `routing`, to rebuild the table, and `activity`."""

from __future__ import annotations

from django.db.models import F

from endpoints.models import Revision


def bump(*, routing: bool) -> None:
    """Move `activity`, and `routing` when asked. Inside a transaction it is seen once that is committed."""
    changes: dict[str, F] = {"activity": F("activity") + 1}
    if routing:
        changes["routing"] = F("routing") + 1
    if not _update(changes):
        Revision.objects.get_or_create(pk=Revision.SINGLETON)
        _update(changes)


def _update(changes: dict[str, F]) -> bool:
    return Revision.objects.filter(pk=Revision.SINGLETON).update(**changes) == 1
