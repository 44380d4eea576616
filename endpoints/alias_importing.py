"""The model aliases of an endpoint file: a known one gets the file's models, others are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from endpoints import aliases as stored_aliases
from endpoints.choices import Outcome
from endpoints.models import AliasedModel, ModelAlias
from endpoints.yaml_nodes import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endpoints.yaml_entries import AliasEntry


@dataclass(frozen=True, slots=True)
class ImportedAlias:
    """An alias as the file has it. `before` are the models that are stored, empty for a new one."""

    name: str
    models: tuple[str, ...]
    before: tuple[str, ...]

    @property
    def outcome(self) -> Outcome:
        if self.models == self.before:
            return Outcome.UNCHANGED
        return Outcome.CHANGED if self.before else Outcome.ADDED


def prepare(entries: Iterable[AliasEntry], mistakes: list[Mistake]) -> tuple[ImportedAlias, ...]:
    """Compare with what is stored; what no alias may be is added to `mistakes`."""
    stored = {
        alias.name: tuple(one.model for one in alias.models.all())
        for alias in ModelAlias.objects.prefetch_related("models")
    }
    imported = []
    for entry in entries:
        mistakes += _mistakes(entry)
        imported.append(ImportedAlias(entry.name, entry.models, stored.get(entry.name, ())))
    return tuple(imported)


def store(aliases: Iterable[ImportedAlias]) -> None:
    """Inside the caller's transaction."""
    for one in aliases:
        if one.outcome == Outcome.UNCHANGED:
            continue
        alias = ModelAlias.objects.filter(name=one.name).first() or ModelAlias(name=one.name)
        stored_aliases.store(alias, one.models)


def _mistakes(entry: AliasEntry) -> list[Mistake]:
    found = []
    for field, text in [(ModelAlias._meta.get_field("name"), entry.name)] + [
        (AliasedModel._meta.get_field("model"), model) for model in entry.models
    ]:
        try:
            field.run_validators(text)
        except ValidationError as error:
            found += [Mistake(entry.line, entry.path, message) for message in error.messages]
    return found
