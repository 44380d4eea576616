"""What is known of a model at an endpoint: what its backend says, and where that is silent, what its name
tells (endpoints.known_models.model_names) and what the profile knows of such names.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from endpoints.known_models import model_names
from endpoints.known_models.model_names import UNKNOWN
from endpoints.profiles import profile

if TYPE_CHECKING:
    from collections.abc import Sequence


class Said(Protocol):
    """What a backend says of a model: an `EndpointModel`, or anything with its fields."""

    name: str
    max_model_len: int | None
    family: str
    parameter_size: str
    quantization: str
    size_bytes: int | None
    capabilities: Sequence[str]
    is_loaded: bool | None


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """A model as lists and pages show it. `billions` counts its parameters, `loaded` says whether it is in
    memory; what nobody knows is None or empty.
    """

    name: str
    publisher: str
    family: str
    variant: str
    parameter_size: str
    billions: float | None
    quantization: str
    context: int | None
    size_bytes: int | None
    capabilities: frozenset[str]
    loaded: bool | None


def details_of(said: Said, *, backend_type: str) -> ModelDetails:
    """Everything that is known of a model. Raises ProfileError for an unknown type."""
    guessed = model_names.parse(said.name)
    capabilities = frozenset(said.capabilities) or guessed.capabilities
    return ModelDetails(
        name=said.name,
        publisher=guessed.publisher,
        # A backend says "qwen3moe" where the name says "qwen": one family has one name everywhere.
        family=guessed.family if guessed.family != UNKNOWN else said.family.lower() or UNKNOWN,
        variant=guessed.variant,
        parameter_size=said.parameter_size or guessed.parameter_size,
        billions=model_names.billions_of(said.parameter_size) or guessed.billions,
        quantization=said.quantization or guessed.quantization,
        context=said.max_model_len or guessed.context,
        size_bytes=said.size_bytes,
        capabilities=capabilities | _by_pattern(said.name, backend_type),
        loaded=said.is_loaded,
    )


def _by_pattern(name: str, backend_type: str) -> frozenset[str]:
    """What the profile's patterns say of a name. Case does not matter."""
    lowered = name.lower()
    return frozenset(
        word
        for word, globs in profile(backend_type).capability_patterns.items()
        if any(fnmatchcase(lowered, glob.lower()) for glob in globs)
    )
