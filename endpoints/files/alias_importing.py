"""The model aliases of an endpoint file: a known one becomes as the file says, others are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from endpoints.aliases import aliases as stored_aliases
from endpoints.choices import Outcome
from endpoints.files.yaml_nodes import Mistake
from endpoints.models import AliasedModel, ModelAlias
from endpoints.routing.snapshot import Alias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endpoints.files.yaml_entries import AliasEntry


@dataclass(frozen=True, slots=True)
class ImportedAlias:
    """An alias as the file has it. `before` is what is stored, None for a new one."""

    name: str
    says: Alias
    before: Alias | None

    @property
    def outcome(self) -> Outcome:
        if self.before is None:
            return Outcome.ADDED
        return Outcome.UNCHANGED if self.says == self.before else Outcome.CHANGED

    @property
    def words(self) -> str:
        return stored_aliases.in_words(self.says)


def prepare(
    entries: Iterable[AliasEntry], mistakes: list[Mistake], *, prune: bool
) -> tuple[ImportedAlias, ...]:
    """Compare with what is stored; what no alias may be is added to `mistakes`.

    What the file leaves out stays, and with `prune` goes back to its default.
    """
    stored = {
        alias.name: Alias(
            tuple(one.model for one in alias.models.all()), alias.strategy, alias.defaults, alias.overrides
        )
        for alias in ModelAlias.objects.prefetch_related("models")
    }
    imported = []
    for entry in entries:
        mistakes += _mistakes(entry)
        before = stored.get(entry.name)
        kept = before if before and not prune else Alias(())
        says = Alias(
            entry.models,
            kept.strategy if entry.strategy is None else entry.strategy,
            kept.defaults if entry.defaults is None else entry.defaults,
            kept.overrides if entry.overrides is None else entry.overrides,
        )
        imported.append(ImportedAlias(entry.name, says, before))
    return tuple(imported)


def store(aliases: Iterable[ImportedAlias]) -> None:
    """Inside the caller's transaction."""
    for one in aliases:
        if one.outcome == Outcome.UNCHANGED:
            continue
        alias = ModelAlias.objects.filter(name=one.name).first() or ModelAlias(name=one.name)
        alias.strategy = one.says.strategy
        alias.defaults, alias.overrides = dict(one.says.defaults), dict(one.says.overrides)
        stored_aliases.store(alias, one.says.models)


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
