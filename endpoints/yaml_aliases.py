"""Reads the model aliases of an endpoint file: a list of models, or a mapping with a load balancer too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from endpoints.strategies import STRATEGIES
from endpoints.yaml_entries import AliasEntry
from endpoints.yaml_nodes import line_of

if TYPE_CHECKING:
    from endpoints.yaml_nodes import Reader

SECTION: Final = "model_aliases"
KEYS: Final = ("models", "strategy")


def read_aliases(reader: Reader, node: yaml.Node) -> list[AliasEntry]:
    """The aliases below `model_aliases`. What cannot be read is noted in `reader` and left out."""
    found = []
    for name, listed in (reader.mapping(node, SECTION, known=None) or {}).items():
        path, strategy = f"{SECTION}.{name}", None
        models_node, models_path = listed, path
        if isinstance(listed, yaml.MappingNode):
            keys = reader.mapping(listed, path, known=KEYS) or {}
            if "strategy" in keys:
                strategy = _strategy(reader, keys["strategy"], f"{path}.strategy")
            if "models" not in keys:
                reader.refuse(listed, path, "An alias needs a list of models.")
                continue
            models_node, models_path = keys["models"], f"{path}.models"
        models = reader.texts(models_node, models_path)
        if models == []:
            reader.refuse(models_node, models_path, "An alias needs at least one model.")
        if models:
            found.append(AliasEntry(line_of(listed), path, name, tuple(dict.fromkeys(models)), strategy))
    return found


def _strategy(reader: Reader, node: yaml.Node, path: str) -> str | None:
    word = reader.text(node, path)
    if word in {None, "", *STRATEGIES}:
        return word
    reader.refuse(node, path, f"There is no load balancer {word!r}. Known ones: {', '.join(STRATEGIES)}.")
    return None
