"""How many requests an endpoint gets at once when nobody has set it: by its profile and its models' size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from endpoints.known_models.model_details import details_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from endpoints.known_models.model_details import ModelDetails
    from endpoints.models import EndpointModel
    from endpoints.profiles import Profile

GIGA = 1e9
BITS = re.compile(r"(?:Q|FP|INT|W|MXFP|NVFP|BF)?(\d{1,2})", re.IGNORECASE)
FULL_BITS = 16


def default_of(profile: Profile, models: Iterable[EndpointModel]) -> int:
    """Of an endpoint of this type with these models: the largest that is in memory, or of all, decides."""
    rows = list(models)
    loaded = [row for row in rows if row.is_loaded] or rows
    sizes = [gigabytes_of(details_of(row, backend_type=profile.name)) for row in loaded]
    known = [size for size in sizes if size is not None]
    return profile.concurrent_with(max(known)) if known else profile.max_concurrent


def gigabytes_of(details: ModelDetails) -> float | None:
    """What its weights take up: as the server says, else by parameters and quantisation; None if unknown."""
    if details.size_bytes:
        return details.size_bytes / GIGA
    if details.billions is None:
        return None
    found = BITS.search(details.quantization)
    return details.billions * (int(found[1]) if found else FULL_BITS) / 8
