"""The lists of models, from what discovery found: one entry per model, only what can be served now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from endpoints.profiles import profile
from endpoints.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endpoints.snapshot import ServedModel, Target
    from proxy.paths import Surface


class ModelEntry(TypedDict):
    """A model as the seed shows it."""

    id: str
    object: str
    created: int
    owned_by: str
    root: str
    parent: None
    permission: list[str]
    max_model_len: NotRequired[int]


class ModelList(TypedDict):
    object: str
    data: list[ModelEntry]


def listed(surface: Surface) -> ModelList:
    """Every model of a surface, as the endpoint of highest priority has it, then every alias of one."""
    found: dict[str, ModelEntry] = {}
    for target, model in _served(surface):
        found.setdefault(model.name, _entry(surface, target, model))
    aliases: dict[str, ModelEntry] = {}
    for alias, names in snapshot().aliases.items():
        first = next((name for name in names if name in found), None)
        if first is not None:
            aliases[alias] = {**found[first], "id": alias}
    found |= aliases
    return {"object": "list", "data": list(found.values())}


def entry(surface: Surface, name: str) -> ModelEntry | None:
    """One model by its name, None when nobody serves it now."""
    return next((each for each in listed(surface)["data"] if each["id"] == name), None)


def _served(surface: Surface) -> Iterator[tuple[Target, ServedModel]]:
    for target in snapshot().targets:
        if target.routable and surface.admits(target.type):
            for model in target.models:
                yield target, model


def _entry(surface: Surface, target: Target, model: ServedModel) -> ModelEntry:
    made: ModelEntry = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": surface.owned_by or profile(target.type).owned_by,
        "root": model.name,
        "parent": None,
        "permission": [],
    }
    if model.max_model_len is not None:
        made["max_model_len"] = model.max_model_len
    return made
