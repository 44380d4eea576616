"""Stores and deletes model aliases and keeps who did it. The admin, files and the REST API all do it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from endpoints.aliases.alias_parameters import in_words as parameters_in_words
from endpoints.models import AliasedModel
from endpoints.past import changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endpoints.models import ModelAlias
    from endpoints.routing.snapshot import Alias


def store(alias: ModelAlias, models: Iterable[str] | None = None) -> None:
    """Store an alias that was checked before, and its models in their order. None: those that it has stay."""
    with transaction.atomic():
        action = "added" if alias.pk is None else "changed"
        alias.save()
        if models is not None:
            alias.models.all().delete()
            for position, model in enumerate(dict.fromkeys(models)):
                AliasedModel.objects.create(alias=alias, position=position, model=model)
        record(alias, action)


def delete(aliases: Iterable[ModelAlias]) -> None:
    with transaction.atomic():
        for alias in aliases:
            changes.record(alias, "deleted")
            alias.delete()


def record(alias: ModelAlias, action: str) -> None:
    """Note that whoever is acting did `action` to an alias, which has its models by now."""
    models = in_order(alias.models.values_list("model", flat=True))
    strategy = (f"load balancer: {alias.strategy}",) if alias.strategy else ()
    changes.record(alias, action, (f"models: {models}", *strategy, *_parameters(alias)))


def in_order(models: Iterable[str]) -> str:
    """The models of an alias in words."""
    return ", then ".join(models)


def in_words(alias: Alias) -> str:
    """All of an alias in words."""
    balancer = (f"by {alias.strategy}",) if alias.strategy else ()
    return ", ".join((in_order(alias.models), *balancer, *_parameters(alias)))


def _parameters(alias: Alias | ModelAlias) -> tuple[str, ...]:
    return (
        *parameters_in_words("defaults", alias.defaults),
        *parameters_in_words("overrides", alias.overrides),
    )
