"""What a key keeps of its requests: sealed when stored, opened for whoever may see it, gone after a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.conf import settings

from endpoints.past.retention import delete_in_batches
from ollaproject.sealed import SealBroken, seal, unseal
from ollaproject.wire import clock, roles
from proxy.models import ApiKey, KeptBody

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from proxy.models import RequestRecord
    from proxy.records.record import Outcome


@dataclass(frozen=True, slots=True)
class Opened:
    """Sizes are those of the whole. Not `readable`: no key of OLLA_ENCRYPTION_KEYS opens it any more."""

    asked: str
    answered: str
    asked_bytes: int
    answered_bytes: int
    expires_at: datetime
    readable: bool = True

    @property
    def asked_cut(self) -> bool:
        return len(self.asked.encode()) < self.asked_bytes

    @property
    def answered_cut(self) -> bool:
        return len(self.answered.encode()) < self.answered_bytes


def store(outcomes: Iterable[Outcome]) -> None:
    """Within the transaction that writes their rows. Each has bodies and the holder that keeps them."""
    kept = [_row(outcome) for outcome in outcomes]
    if kept:
        KeptBody.objects.bulk_create(kept)


def _row(outcome: Outcome) -> KeptBody:
    bodies, holder = outcome.bodies, outcome.holder
    if bodies is None or holder is None:
        raise ValueError("Nothing is kept of this request.")
    return KeptBody(
        request_id=outcome.request_id,
        key_id=holder.id,
        at=outcome.ended_at,
        expires_at=outcome.ended_at + timedelta(hours=settings.OLLA_KEPT_BODIES_HOURS),
        asked=seal(_text(bodies.asked)),
        answered=seal(_text(bodies.answered)),
        asked_bytes=bodies.asked_bytes,
        answered_bytes=bodies.answered_bytes,
    )


def _text(body: bytes) -> str:
    # PostgreSQL stores no NUL, and the seal would hide it until somebody reads it.
    return body.decode("utf-8", "replace")


def of(row: RequestRecord, reader: roles.Person) -> Opened | None:
    """What is kept of a request, for a person who may read it: the owner of its key, or by permission."""
    if not row.key_id:
        return None
    found = KeptBody.objects.filter(
        request_id=row.request_id, key_id=row.key_id, at=row.at, expires_at__gt=clock.now()
    ).first()
    if found is None or not may_read(row, reader):
        return None
    sizes = (found.asked_bytes, found.answered_bytes, found.expires_at)
    try:
        return Opened(unseal(found.asked), unseal(found.answered), *sizes)
    except SealBroken:
        return Opened("", "", *sizes, readable=False)


def may_read(row: RequestRecord, reader: roles.Person) -> bool:
    if reader.has_perm(roles.READ_BODIES):
        return True
    return bool(reader.pk) and ApiKey.objects.filter(pk=row.key_id, owner=reader.pk).exists()


def prune() -> None:
    """Delete what has expired."""
    delete_in_batches(KeptBody.objects.filter(expires_at__lte=clock.now()).order_by("expires_at"))
