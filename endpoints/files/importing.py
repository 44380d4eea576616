"""Makes the fleet what an endpoint file says: known names are updated, others added, nothing else is touched.

A key that the file leaves out keeps its value. With `prune` the file is the whole truth: what it does not
name is deleted, and a key that it leaves out goes back to its default. All of a file is imported, or nothing.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import transaction

from endpoints.aliases import aliases
from endpoints.choices import AuthKind, Outcome
from endpoints.errors import CredentialError
from endpoints.files import alias_importing, yaml_io
from endpoints.files.import_types import detect_types
from endpoints.files.yaml_nodes import Mistake
from endpoints.header_validation import hosts
from endpoints.models import Endpoint, ModelAlias
from endpoints.past import changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endpoints.files.alias_importing import ImportedAlias
    from endpoints.files.yaml_entries import EndpointFile, Entry


@dataclass(frozen=True, slots=True)
class Imported:
    """What became, or would become, of one endpoint. `differences` hold no secret."""

    endpoint: Endpoint
    outcome: Outcome
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Import:
    """A file's endpoints and aliases, checked and not yet stored.

    `gone` and `gone_aliases` are what is stored and not in the file; they are empty unless it is to prune.
    """

    endpoints: tuple[Imported, ...]
    aliases: tuple[ImportedAlias, ...]
    left_out: tuple[str, ...] = field(default=())
    gone: tuple[Endpoint, ...] = field(default=())
    gone_aliases: tuple[ModelAlias, ...] = field(default=())

    def count(self, outcome: Outcome) -> int:
        return sum(one.outcome == outcome for one in self.endpoints)

    @property
    def changes_nothing(self) -> bool:
        return (
            not self.gone
            and not self.gone_aliases
            and all(one.outcome == Outcome.UNCHANGED for one in self.endpoints)
            and all(one.outcome == Outcome.UNCHANGED for one in self.aliases)
        )


def prepare(file: EndpointFile, *, prune: bool = False) -> Import:
    """Check what was read of a file. Raises EndpointFileError with every mistake in it."""
    known = {endpoint.name: endpoint for endpoint in Endpoint.objects.all()}
    mistakes = [*file.mistakes, *detect_types(file.entries, known)]
    imported: list[Imported] = []
    for entry in file.entries:
        endpoint = known.get(entry.values.get("name", "")) or Endpoint()
        differences = _apply(entry, endpoint, whole=prune)
        mistakes += [one for one in _mistakes(entry, endpoint) if not _is_unread(one.path, file.mistakes)]
        imported.append(Imported(endpoint, _outcome(endpoint, differences), differences))
    named = alias_importing.prepare(file.aliases, mistakes, prune=prune)
    if mistakes:
        raise yaml_io.refusal(file.name, mistakes)
    prepared = Import(endpoints=tuple(imported), aliases=named, left_out=file.left_out)
    return _pruning(prepared, known.values()) if prune else prepared


def store(prepared: Import) -> None:
    """Store what `prepare` has checked, all of it or nothing."""
    with transaction.atomic():
        for one in prepared.endpoints:
            if one.outcome != Outcome.UNCHANGED:
                changes.save(one.endpoint)
        changes.delete(prepared.gone)
        alias_importing.store(prepared.aliases)
        aliases.delete(prepared.gone_aliases)


def _pruning(prepared: Import, known: Iterable[Endpoint]) -> Import:
    """The endpoint of a model that this machine runs itself is nobody's to list in a file: it stays."""
    named = {one.endpoint.name for one in prepared.endpoints}
    aliased = {one.name for one in prepared.aliases}
    gone = [one for one in known if one.name not in named and not one.is_local]
    gone_aliases = ModelAlias.objects.exclude(name__in=aliased)
    return replace(prepared, gone=tuple(gone), gone_aliases=tuple(gone_aliases))


def _apply(entry: Entry, endpoint: Endpoint, *, whole: bool) -> tuple[str, ...]:
    """Set on `endpoint` what the entry says, with `whole` also what it does not say: the defaults.

    Returns what that changes, in words.
    """
    before = copy(endpoint)
    if whole:
        for name in changes.person_fields():
            setattr(endpoint, name, entry.values.get(name, getattr(Endpoint(), name)))
        if endpoint.auth_kind == AuthKind.NONE:
            endpoint.set_credential("")
    for name, value in entry.values.items():
        setattr(endpoint, name, value)
    moved = hosts(endpoint) != hosts(before)  # then it counts as entered anew
    if entry.credential is not None and (moved or not _has_credential(endpoint, entry.credential)):
        endpoint.set_credential(entry.credential)
    elif entry.credential is None and endpoint.auth_kind != before.auth_kind:
        endpoint.set_credential("")  # what is stored was made for another way of signing in
    return changes.differences(before, endpoint)


def _has_credential(endpoint: Endpoint, plain: str) -> bool:
    try:
        return endpoint.credential() == plain
    except CredentialError:
        return False


def _outcome(endpoint: Endpoint, differences: tuple[str, ...]) -> Outcome:
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
