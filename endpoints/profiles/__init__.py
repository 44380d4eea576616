"""What is known of each backend type. A type is data: one YAML file beside this one, read once, refused
loudly if wrong.

Adding a type means adding a file. Nothing else names types, apart from the default of a new endpoint.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from django.conf import settings

from endpoints.errors import ProfileError
from endpoints.profiles.schema import HealthBody, ModelList, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "AUTO",
    "FOLDER",
    "HealthBody",
    "ModelList",
    "Profile",
    "load",
    "profile",
    "profile_for_prefix",
    "profiles",
]

FOLDER = Path(__file__).parent
# Not a type, but the wish to find it out; see endpoints.health.detection.
AUTO = "auto"
# What this machine's own models are of, and the default of a new endpoint.
OWN_TYPE = "vllm-mlx"
# msgspec finds out at the first use of a class what it consists of, and keeps that. A second thread that
# comes meanwhile is given half of it, and the process ends in a segmentation fault; an import is done by one.
msgspec.json.Decoder(Profile)


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
    return chosen(load(FOLDER), settings.OLLA_BACKEND_TYPES)


def chosen(every: dict[str, Profile], globs: Sequence[str]) -> dict[str, Profile]:
    """Those that one of the globs names and none with `!` before it does. Only `!` ones: all others.

    The type of this machine's own models is always among them.
    """
    out = [glob[1:] for glob in globs if glob.startswith("!")]
    named = [glob for glob in globs if not glob.startswith("!")] or ["*"]

    def matches(name: str, patterns: Iterable[str]) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    return {
        name: found
        for name, found in every.items()
        if name == OWN_TYPE or (matches(name, named) and not matches(name, out))
    }


@cache
def _by_prefix() -> dict[str, Profile]:
    return {prefix: found for found in profiles() for prefix in found.prefixes}
