"""Strict YAML: every mistake is noted with its line and path, and reading goes on to find the next one.

Nothing is guessed. An unknown or a double key is a mistake, and `${VAR}` stands for a variable of the
environment that must be there (`$${` is a plain `${`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{", re.ASCII)
WHOLE_NUMBER = re.compile(r"-?\d{1,15}", re.ASCII)
# A number counts as text as it is written, 007 included. `yes` and `null` do not: they mean something else.
TEXT_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float"))
BOOLEANS = {"true": True, "false": False}
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null"))


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """What is wrong in line `line` (from 1) at `path`, such as `endpoints[0].url`."""

    line: int
    path: str
    sentence: str


class MissingVariable(Exception):
    """A `${…}` that stands for nothing. The message says why."""


class Reader:
    """Reads the nodes of one document. What does not read gives None and is noted in `mistakes`.

    Without an `environment`, variables are refused: this machine's are not for whoever sent the document.
    """

    def __init__(self, environment: Mapping[str, str] | None) -> None:
        self.mistakes: list[Mistake] = []
        self._environment = environment

    def note(self, line: int, path: str, sentence: str) -> None:
        self.mistakes.append(Mistake(line, path, sentence))

    def refuse(self, node: yaml.Node, path: str, sentence: str) -> None:
        self.note(line_of(node), path, sentence)

    def mapping(
        self, node: yaml.Node, path: str, *, known: Collection[str] | None
    ) -> dict[str, yaml.Node] | None:
        """The nodes of a mapping by key. With `known`, any other key is a mistake."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, path, "This must be a mapping of keys to values.")
            return None
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            where = f"{path}.{key}" if path else key
            if known is not None and key not in known:
                self.refuse(key_node, where, f"This key is not known. Known keys: {', '.join(known)}.")
            elif key in found:
                self.refuse(key_node, where, "This key stands here twice. Keep one of them.")
            else:
                found[key] = value
        return found

    def sequence(self, node: yaml.Node, path: str) -> list[yaml.Node] | None:
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.refuse(node, path, "This must be a list.")
        return None

    def text(self, node: yaml.Node, path: str) -> str | None:
        if not isinstance(node, yaml.ScalarNode) or node.tag not in TEXT_TAGS:
            self.refuse(node, path, "This must be text. Put it in quotes if it is.")
            return None
        return self._expanded(node, path)

    def whole_number(self, node: yaml.Node, path: str) -> int | None:
        word = self._expanded(node, path) if isinstance(node, yaml.ScalarNode) else ""
        if word is None:
            return None
        if not WHOLE_NUMBER.fullmatch(word):
            self.refuse(node, path, "This must be a whole number.")
            return None
        return int(word)

    def boolean(self, node: yaml.Node, path: str) -> bool | None:
        word = self._expanded(node, path) if isinstance(node, yaml.ScalarNode) else ""
        if word is None:
            return None
        if word.lower() not in BOOLEANS:
            self.refuse(node, path, "This must be true or false.")
            return None
        return BOOLEANS[word.lower()]

    def texts(self, node: yaml.Node, path: str) -> list[str] | None:
        nodes = self.sequence(node, path)
        if nodes is None:
            return None
        found = [self.text(item, f"{path}[{position}]") for position, item in enumerate(nodes)]
        return [text for text in found if text is not None]

    def text_mapping(self, node: yaml.Node, path: str) -> dict[str, str] | None:
        nodes = self.mapping(node, path, known=None)
        if nodes is None:
            return None
        found = {key: self.text(value, f"{path}.{key}") for key, value in nodes.items()}
        return {key: text for key, text in found.items() if text is not None}

    def plain(self, node: yaml.Node, path: str) -> Any:
        """What JSON can hold: mappings, lists, text, numbers, true, false, null."""
        if isinstance(node, yaml.MappingNode):
            nodes = self.mapping(node, path, known=None) or {}
            return {key: self.plain(value, f"{path}.{key}") for key, value in nodes.items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, f"{path}[{position}]") for position, item in enumerate(node.value)]
        if node.tag in PLAIN_TAGS:
            return yaml.constructor.SafeConstructor().construct_object(node)
        return self.text(node, path)

    def _expanded(self, node: yaml.ScalarNode, path: str) -> str | None:
        try:
            return VARIABLE.sub(self._variable, str(node.value))
        except MissingVariable as missing:
            self.refuse(node, path, str(missing))
            return None

    def _variable(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            raise MissingVariable("Write a variable as ${NAME}, and a plain ${ as $${.")
        if self._environment is None:
            raise MissingVariable("Variables are only read from the command line. Write the value itself.")
        if not (value := self._environment.get(name)):
            raise MissingVariable(f"The environment variable {name} is not set.")
        return value


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
