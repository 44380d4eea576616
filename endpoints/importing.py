"""Makes the fleet what an endpoint file says: known names are updated, others added, nothing else is touched.

A key that the file leaves out keeps its value. All of a file is imported, or nothing.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import transaction

from endpoints import alias_importing, validation, yaml_io
from endpoints.detection import detect_all
from endpoints.durations import format_duration
from endpoints.errors import CredentialError, DetectionError
from endpoints.models import Endpoint
from endpoints.profiles import AUTO
from endpoints.yaml_nodes import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from endpoints.alias_importing import ImportedAlias
    from endpoints.yaml_entries import Entry

KEY_OF_FIELD = {name: key for key, (name, _) in {**yaml_io.PLAIN_KEYS, **yaml_io.FILTER_KEYS}.items()}


class Outcome(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Imported:
    """What became, or would become, of one endpoint. `differences` hold no secret."""

    endpoint: Endpoint
    outcome: Outcome
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Import:
    """A file's endpoints and aliases, checked and not yet stored."""

    endpoints: tuple[Imported, ...]
    aliases: tuple[ImportedAlias, ...]
    left_out: tuple[str, ...] = field(default=())

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome == outcome for one in self.endpoints)


def prepare(path: Path) -> Import:
    """Read and check the file at `path`. Raises EndpointFileError with every mistake in it."""
    file = yaml_io.read_file(path, environment=os.environ)
    known = {endpoint.name: endpoint for endpoint in Endpoint.objects.all()}
    mistakes = [*file.mistakes, *_detect_types(file.entries, known)]
    imported: list[Imported] = []
    for entry in file.entries:
        endpoint = known.get(entry.values.get("name", "")) or Endpoint()
        differences = _apply(entry, endpoint)
        mistakes += [one for one in _mistakes(entry, endpoint) if not _is_unread(one.path, file.mistakes)]
        imported.append(Imported(endpoint, _outcome(endpoint, differences), tuple(differences)))
    aliases = alias_importing.prepare(file.aliases, mistakes)
    if mistakes:
        raise yaml_io.refusal(path, mistakes)
    return Import(endpoints=tuple(imported), aliases=aliases, left_out=file.left_out)


def store(prepared: Import) -> None:
    """Store what `prepare` has checked, all of it or nothing."""
    with transaction.atomic():
        for one in prepared.endpoints:
            if one.outcome != Outcome.UNCHANGED:
                one.endpoint.save()
        alias_importing.store(prepared.aliases)


def _detect_types(entries: Iterable[Entry], known: Mapping[str, Endpoint]) -> list[Mistake]:
    """Put a real type where an entry says `auto`. One that is known already at that URL keeps its type."""
    asked = [entry for entry in entries if entry.values.get("type") == AUTO]
    for entry in asked:
        before = known.get(entry.values.get("name", ""))
        if before is not None and before.url == entry.values.get("url"):
            entry.values["type"] = before.type
    asked = [entry for entry in asked if entry.values["type"] == AUTO]
    for entry in asked:
        del entry.values["type"]  # what is reported of an entry is then its real mistake
    asked = [entry for entry in asked if _can_be_asked(entry)]
    found = asyncio.run(detect_all([_as_written(entry) for entry in asked])) if asked else []
    mistakes = []
    for entry, result in zip(asked, found, strict=True):
        if isinstance(result, DetectionError):
            mistakes.append(Mistake(*entry.place_of("type"), _undetected(result)))
        else:
            entry.values["type"] = result.type
    return mistakes


def _as_written(entry: Entry) -> Endpoint:
    endpoint = Endpoint(**entry.values)
    if entry.credential is not None:
        endpoint.set_credential(entry.credential)
    return endpoint


def _can_be_asked(entry: Entry) -> bool:
    """Whether its URL is one; if not, that is the mistake to report."""
    try:
        validation.check_url(_as_written(entry))
    except ValidationError:
        return False
    return True


def _undetected(error: DetectionError) -> str:
    return f"Its type cannot be detected: {error}. Start it, or write its type."


def _apply(entry: Entry, endpoint: Endpoint) -> list[str]:
    """Set on `endpoint` what the entry says. Returns what that changes, in words."""
    differences = []
    for name, value in entry.values.items():
        old = getattr(endpoint, name)
        if old != value:
            differences.append(_difference(name, old, value))
            setattr(endpoint, name, value)
    if entry.credential is not None and not _has_credential(endpoint, entry.credential):
        differences.append("credential replaced" if endpoint.has_credential else "credential set")
        endpoint.set_credential(entry.credential)
    return differences


def _has_credential(endpoint: Endpoint, plain: str) -> bool:
    try:
        return endpoint.credential() == plain
    except CredentialError:
        return False


def _difference(name: str, old: Any, new: Any) -> str:
    if name == "headers":  # the values may be secret
        return f"headers: {', '.join(new) or 'none'}"
    label = KEY_OF_FIELD.get(name, name)
    return f"{label}: {_in_words(name, old)} → {_in_words(name, new)}"


def _in_words(name: str, value: Any) -> str:
    if value is None or value in ("", []):
        return "unset"
    if name.endswith("_seconds"):
        return format_duration(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _outcome(endpoint: Endpoint, differences: list[str]) -> Outcome:
    if endpoint._state.adding:
        return Outcome.ADDED
    return Outcome.CHANGED if differences else Outcome.UNCHANGED


def _mistakes(entry: Entry, endpoint: Endpoint) -> list[Mistake]:
    """What the model's own validation says against it, at the lines of the file."""
    try:
        endpoint.full_clean()
    except ValidationError as error:
        return [
            Mistake(*entry.place_of(name), message)
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    return []


def _is_unread(path: str, mistakes: Iterable[Mistake]) -> bool:
    """Whether what stands at `path` could not be read. Nothing true can then be said of its value."""
    return any(mistake.path.startswith(path) for mistake in mistakes)
