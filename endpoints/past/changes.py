"""Who changed what, and when: every change that a person makes to the fleet leaves a row, without secrets.

Whoever stores an endpoint or an alias for a person does it through here, so that no interface forgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.db import models, transaction

from endpoints.files import yaml_io
from endpoints.models import Change, Endpoint
from ollaproject.wire.acting import actor
from ollaproject.wire.durations import format_duration
from ollaproject.wire.socket_urls import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# The names that fields have in files, in the REST API and to people.
KEY_OF_FIELD: Final = {
    **{name: key for key, (name, _) in {**yaml_io.PLAIN_KEYS, **yaml_io.FILTER_KEYS}.items()},
    "auth_kind": "auth",
    "auth_header": "auth.header",
    "auth_username": "auth.username",
}


def save(endpoint: Endpoint, *, with_mode: bool = False) -> tuple[str, ...]:
    """Store `endpoint` and who changed what. Returns the differences, in words.

    Of one that is stored already, only what people set: what has happened to it since it was read, such as a
    pause, stands, unless its mode is meant to be stored, too.
    """
    with transaction.atomic():
        before = Endpoint.objects.filter(pk=endpoint.pk).first() if endpoint.pk else None
        found = differences(before, endpoint) if before else ()
        kept = (*person_fields(), "encrypted_credential", "edited_at", *(["mode"] if with_mode else []))
        endpoint.save(update_fields=kept if before else None)
        if before is None:
            record(endpoint, "added", (endpoint.shown_url,))
        elif found:
            record(endpoint, "changed", found)
    return found


def delete(endpoints: Iterable[Endpoint]) -> None:
    """Delete these endpoints. What was known of their health goes with them; who deleted them stays."""
    with transaction.atomic():
        for endpoint in endpoints:
            record(endpoint, "deleted", (endpoint.shown_url,))
            endpoint.delete()


def record(subject: models.Model, action: str, found: Sequence[str] = ()) -> None:
    """Note that whoever is acting did `action`, such as `added` or `paused`, to an endpoint or an alias."""
    who = actor()
    Change.objects.create(
        actor=who.name[:150],
        via=who.via,
        kind=subject._meta.verbose_name_raw,  # in English, whoever acts
        subject_id=subject.pk,
        name=str(subject),
        action=action,
        differences=list(found),
    )


def differences(before: Endpoint, after: Endpoint) -> tuple[str, ...]:
    """What differs between two states of an endpoint, in words. Values that may be secret are left out."""
    found = [
        difference(name, getattr(before, name), getattr(after, name))
        for name in person_fields()
        if getattr(before, name) != getattr(after, name)
    ]
    if before.encrypted_credential != after.encrypted_credential:
        found.append(_credential(before, after))
    return tuple(found)


def person_fields() -> list[str]:
    """The fields of Endpoint that people set, in its own order. `mode` has operations of its own."""
    fields = [field for field in Endpoint._meta.concrete_fields if field.editable and not field.primary_key]
    return [field.attname for field in fields if field.attname != "mode"]


def difference(name: str, old: Any, new: Any) -> str:
    if name == "headers":  # the values may be secret
        return f"headers: {', '.join(new) or 'none'}"
    return f"{KEY_OF_FIELD.get(name, name)}: {in_words(name, old)} → {in_words(name, new)}"


def in_words(name: str, value: Any) -> str:
    if value is None or value in ("", []):
        return "unset"
    if name.endswith("_seconds"):
        return format_duration(value)
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) if isinstance(value, list) else shown(str(value))


def _credential(before: Endpoint, after: Endpoint) -> str:
    if not after.has_credential:
        return "credential removed"
    return "credential replaced" if before.has_credential else "credential set"
