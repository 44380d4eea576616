"""The one writer of what a local model is: states flip here, and each flip leaves an event."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.dispatch import Signal

from inference.local.choices import State
from inference.models import MAX_REASON_LENGTH, LocalModel, LocalModelEvent, LocalModelStatus
from ollaproject.wire import clock

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

NO_PROGRESS: dict[str, Any] = {"done": 0, "total": 0, "bytes_per_second": 0.0}
NOT_RUNNING: dict[str, Any] = {"pid": None, "pid_began": None, "memory_bytes": None, "retry_at": None}

changed = Signal()
"""Something that a page shows of a local model is different now."""

named = Signal()
"""The aliases of the local model `model` are `aliases` now, and no more those that are `former`."""

removed = Signal()
"""A local model is deleted, whose endpoint was `endpoint_id`."""


def status_of(model: LocalModel) -> LocalModelStatus:
    """The row of `model`, made on first use."""
    row, _ = LocalModelStatus.objects.get_or_create(model=model, defaults={"since": clock.now()})
    return row


def move(status: LocalModelStatus, state: State, reason: str = "", **fields: Any) -> None:
    """Put `status` into `state` and set `fields`, with an event when the state or its reason is another."""
    reason = reason[:MAX_REASON_LENGTH]
    flips = (status.state, status.reason) != (state, reason)
    old, now = State(status.state), clock.now()
    if flips:
        fields |= {"state": state, "reason": reason}
        if state != old or state == State.FAILED:
            fields["since"] = now
    with transaction.atomic():
        note(status, **fields)
        if flips:
            LocalModelEvent.objects.create(
                model_id=status.pk, at=now, old_state=old, new_state=state, reason=reason
            )
    if flips:
        logger.info("%s: %s%s", status.model.name, state, f" ({reason})" if reason else "")


def note(status: LocalModelStatus, **fields: Any) -> None:
    """Set `fields` of a status that stays in its state. What a person asks for meanwhile is not touched."""
    different = {name: value for name, value in fields.items() if getattr(status, name) != value}
    if not different:
        return
    LocalModelStatus.objects.filter(pk=status.pk).update(**different)
    for name, value in different.items():
        setattr(status, name, value)
    changed.send(sender=None)


def statuses(models: Iterable[LocalModel]) -> dict[int, LocalModelStatus]:
    """The status of each, by the model's id."""
    return {model.pk: model.status if hasattr(model, "status") else status_of(model) for model in models}
