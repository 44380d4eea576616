"""Stores what a person configures of a local model, whichever way: admin, REST API or command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils.translation import gettext

from inference.loading.demo_names import EMBEDDING_NAME
from inference.loading.model_folder import DEMO
from inference.local import hosts, record, wishes
from inference.local.choices import Kind, State
from inference.local.from_settings import name_of

if TYPE_CHECKING:
    from inference.local.looking import Look
    from inference.models import LocalModel

# What does not need another process: the supervisor and the pages read it as it is.
TAKES_EFFECT_AT_ONCE = frozenset({"keep_alive_seconds", "pinned", "autostart", "aliases", "host"})


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of it, in sentences; `needs_restart` when the model that runs is still as it was before."""

    said: str
    needs_restart: bool = False


def suggested_name(model: LocalModel) -> str:
    """What clients call a model that was given no name."""
    if model.source == DEMO and model.kind == Kind.EMBEDDING:
        return EMBEDDING_NAME
    return name_of(model.source)


def store(model: LocalModel, look: Look, *, start: bool = False) -> Stored:
    """Store a model that was validated and looked at, and start it if that is wanted."""
    before = type(model).objects.filter(pk=model.pk).first() if model.pk else None
    with transaction.atomic():
        model.save()
        status = record.status_of(model)
        record.note(status, facts=look.facts or status.facts)
        if before is not None and before.aliases != model.aliases and status.endpoint_id is not None:
            former = [name for name in before.aliases if name not in model.aliases]
            record.named.send(sender=None, model=model.name, aliases=model.aliases, former=former)
        if start:
            wishes.start(model)
        else:
            record.changed.send(sender=None)
    runs = before is not None and status.state in (State.READY, State.LOADING)
    stale = before is not None and runs and differs(before, model)
    said = look.words(model, hosts.alive())
    if stale:
        restart = gettext("What was changed takes effect when it is restarted.")
        said = f"{said} {restart}".strip()
    return Stored(said, needs_restart=stale)


def differs(before: LocalModel, after: LocalModel) -> bool:
    """Whether a process that was started with `before` is another one than `after` wants."""
    names = [field.attname for field in after._meta.concrete_fields if field.editable]
    return any(
        getattr(before, name) != getattr(after, name) for name in names if name not in TAKES_EFFECT_AT_ONCE
    )


def remove(model: LocalModel) -> None:
    """Delete it, and its endpoint with it. Its supervisor stops it; files that were downloaded stay."""
    with transaction.atomic():
        endpoint_id = record.status_of(model).endpoint_id
        model.delete()
        if endpoint_id is not None:
            record.removed.send(sender=None, endpoint_id=endpoint_id)
            record.named.send(sender=None, model=model.name, aliases=[], former=model.aliases)
    record.changed.send(sender=None)
