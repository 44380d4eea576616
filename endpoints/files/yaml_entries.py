"""What an endpoint file holds, as it was read: values, and the lines and paths at which they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from endpoints.files.yaml_nodes import line_of

if TYPE_CHECKING:
    import yaml

    from endpoints.files.yaml_nodes import Mistake


@dataclass(slots=True)
class Entry:
    """One endpoint of a file: the fields of Endpoint that it sets, and where each of them stands."""

    line: int
    path: str
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, tuple[int, str]] = field(default_factory=dict)
    credential: str | None = field(default=None, repr=False)

    def put(self, name: str, value: Any, *, node: yaml.Node, path: str) -> None:
        self.places[name] = (line_of(node), path)
        if value is not None:
            self.values[name] = value

    def place_of(self, name: str) -> tuple[int, str]:
        """Line and path of a field, those of the whole entry when the file does not mention it."""
        return self.places.get(name, (self.line, self.path))


@dataclass(frozen=True, slots=True)
class AliasEntry:
    """A model alias of a file: its name, its models in order, and where it stands.

    `strategy` is its own load balancer, empty for that of the deployment, `defaults` and `overrides` are its
    parameters; None when the file does not say.
    """

    line: int
    path: str
    name: str
    models: tuple[str, ...]
    strategy: str | None = None
    defaults: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class EndpointFile:
    """What a file holds, as far as it could be read. `left_out` names the sections about other things."""

    name: str
    entries: tuple[Entry, ...]
    aliases: tuple[AliasEntry, ...]
    left_out: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
