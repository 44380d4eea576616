"""Reads the model aliases of an endpoint file: a list of models, or a mapping with what else it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml
from django.core.exceptions import ValidationError

from endpoints.aliases.alias_parameters import validate_parameters
from endpoints.files.yaml_entries import AliasEntry
from endpoints.files.yaml_nodes import line_of
from endpoints.routing.strategies import STRATEGIES

if TYPE_CHECKING:
    from endpoints.files.yaml_nodes import Reader

SECTION: Final = "model_aliases"
KEYS: Final = ("models", "strategy", "defaults", "overrides")


def read_aliases(reader: Reader, node: yaml.Node) -> list[AliasEntry]:
    """The aliases below `model_aliases`. What cannot be read is noted in `reader` and left out."""
    found = []
    for name, listed in (reader.mapping(node, SECTION, known=None) or {}).items():
        path, strategy = f"{SECTION}.{name}", None
        parameters: dict[str, dict[str, Any] | None] = {}
        models_node, models_path = listed, path
        if isinstance(listed, yaml.MappingNode):
            keys = reader.mapping(listed, path, known=KEYS) or {}
            if "strategy" in keys:
                strategy = _strategy(reader, keys["strategy"], f"{path}.strategy")
            parameters = {
                key: _parameters(reader, keys[key], f"{path}.{key}")
                for key in ("defaults", "overrides")
                if key in keys
            }
            if "models" not in keys:
                reader.refuse(listed, path, "An alias needs a list of models.")
                continue
            models_node, models_path = keys["models"], f"{path}.models"
        models = reader.texts(models_node, models_path)
        if models == []:
            reader.refuse(models_node, models_path, "An alias needs at least one model.")
        if models:
            in_order = tuple(dict.fromkeys(models))
            found.append(AliasEntry(line_of(listed), path, name, in_order, strategy, **parameters))
    return found


def _strategy(reader: Reader, node: yaml.Node, path: str) -> str | None:
    word = reader.text(node, path)
    if word in {None, "", *STRATEGIES}:
        return word
    reader.refuse(node, path, f"There is no load balancer {word!r}. Known ones: {', '.join(STRATEGIES)}.")
    return None


def _parameters(reader: Reader, node: yaml.Node, path: str) -> dict[str, Any] | None:
    if reader.mapping(node, path, known=None) is None:
        return None
    before = len(reader.mistakes)
    found: dict[str, Any] = reader.plain(node, path)
    if len(reader.mistakes) > before:
        return None
    try:
        validate_parameters(found)
    except ValidationError as error:
        reader.refuse(node, path, error.messages[0])
    return found
