"""The lists of models, from what discovery found: one entry per model, only what can be served now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

from endpoints.profiles import profile
from endpoints.routing.snapshot import is_pattern, snapshot
from proxy.routing.routing import Question, within_reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endpoints.routing.snapshot import ServedModel, Target
    from proxy.access.key_table import Holder
    from proxy.request.paths import Surface


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


def listed(surface: Surface, holder: Holder | None = None) -> ModelList:
    """Every model of a surface, as the endpoint of highest priority has it, then every alias of one.

    For the `holder` of a key, those that it may use. A pattern is no name that could be asked for.
    """
    found: dict[str, ModelEntry] = {}
    for target, model in _served(surface, holder):
        found.setdefault(model.name, _entry(surface, target, model))
    aliases: dict[str, ModelEntry] = {}
    for name, alias in snapshot().aliases.items():
        first = next((model for model in alias.models if model in found), None)
        if first is not None and not is_pattern(name):
            aliases[name] = {**found[first], "id": name}
    found |= aliases
    usable = [each for name, each in found.items() if holder is None or holder.models.admit(name)]
    return {"object": "list", "data": usable}


def entry(surface: Surface, name: str, holder: Holder | None = None) -> ModelEntry | None:
    """One model by its name, also one that an alias's pattern matches. None when nobody serves it now."""
    entries = {each["id"]: each for each in listed(surface, holder)["data"]}
    if name in entries:
        return entries[name]
    alias = snapshot().matching(name) if holder is None or holder.models.admit(name) else None
    first = next((model for model in alias.models if model in entries), None) if alias else None
    return {**entries[first], "id": name} if first is not None else None


def _served(surface: Surface, holder: Holder | None) -> Iterator[tuple[Target, ServedModel]]:
    question = Question(surface, None, holder.endpoints if holder else None)
    for target in snapshot().targets:
        if (target.routable or target.wakeable) and within_reach(target, question):
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
