"""What is known of each backend type. A type is data: one YAML file beside this one, read once, refused
loudly if wrong.

Adding a type means adding a file. Nothing else names types, apart from the default of a new endpoint.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

import msgspec

from endpoints.errors import ProfileError

FOLDER = Path(__file__).parent

Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
UrlPath = Annotated[str, msgspec.Meta(pattern=r"^/\S*$")]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class HealthBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a health answer's JSON says how the server is. Words are compared in lower case."""

    status_key: str
    healthy: frozenset[str]
    warming: frozenset[str] = frozenset()
    loaded_key: str = ""
    residency_key: str = ""
    residency_warming: frozenset[str] = frozenset()
    residency_asleep: frozenset[str] = frozenset()


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A backend type, with the defaults of its endpoints.

    `prefixes` are the words it answers to in `/olla/<prefix>/`. `health_body` is None where the status code
    alone says how the server is.
    """

    name: Word
    display_name: str
    prefixes: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)]
    owned_by: str
    speaks_openai: bool
    health_path: UrlPath
    models_path: UrlPath
    default_priority: Annotated[int, msgspec.Meta(ge=0)]
    max_concurrent: Annotated[int, msgspec.Meta(ge=1)]
    connect_timeout_seconds: Seconds
    first_byte_timeout_seconds: Seconds
    idle_timeout_seconds: Seconds
    health_body: HealthBody | None = None


def profile(name: str) -> Profile:
    """The profile called `name` (not one of its other prefixes). Raises ProfileError for an unknown one."""
    try:
        return _by_name()[name]
    except KeyError:
        known = ", ".join(_by_name())
        raise ProfileError(f"There is no backend type {name!r}. Known types: {known}.") from None


def profiles() -> tuple[Profile, ...]:
    """Every profile, by name."""
    return tuple(_by_name().values())


def profile_for_prefix(prefix: str) -> Profile | None:
    """The profile that answers to `/olla/<prefix>/`, None when none does."""
    return _by_prefix().get(prefix)


def load(folder: Path) -> dict[str, Profile]:
    """Every profile of `folder` by name. Raises ProfileError, naming the file, when one is wrong."""
    loaded: dict[str, Profile] = {}
    taken: set[str] = set()
    for path in sorted(folder.glob("*.yaml")):
        found = _read(path)
        if clash := taken.intersection(found.prefixes):
            raise ProfileError(f"{path}: another profile already has the prefix {', '.join(sorted(clash))}.")
        taken.update(found.prefixes)
        loaded[found.name] = found
    return loaded


def _read(path: Path) -> Profile:
    try:
        found = msgspec.yaml.decode(path.read_bytes(), type=Profile)
    except (OSError, msgspec.MsgspecError) as error:
        raise ProfileError(f"{path}: {error}") from None
    if found.name != path.stem:
        raise ProfileError(f"{path}: the name inside is {found.name!r}. It must be the name of the file.")
    return found


@cache
def _by_name() -> dict[str, Profile]:
    return load(FOLDER)


@cache
def _by_prefix() -> dict[str, Profile]:
    return {prefix: found for found in profiles() for prefix in found.prefixes}
