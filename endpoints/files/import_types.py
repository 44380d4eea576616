"""The backend types of an endpoint file's entries that say `auto`: their servers are asked what they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError

from endpoints import validation
from endpoints.errors import DetectionError
from endpoints.files.yaml_nodes import Mistake
from endpoints.health.detection import detect_all
from endpoints.models import Endpoint
from endpoints.profiles import AUTO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from endpoints.files.yaml_entries import Entry


def detect_types(entries: Iterable[Entry], known: Mapping[str, Endpoint]) -> list[Mistake]:
    """Put a real type where an entry says `auto`. One that is known already at that URL keeps its type."""
    asked = [entry for entry in entries if entry.values.get("type") == AUTO]
    for entry in asked:
        before = known.get(entry.values.get("name", ""))
        if before is not None and before.url == entry.values.get("url"):
            entry.values["type"] = before.type
    asked = [entry for entry in asked if entry.values["type"] == AUTO]
    for entry in asked:
        del entry.values["type"]  # what is reported of an entry is then its real mistake
    asked = [entry for entry in asked if _can_be_asked(entry)]
    found = asyncio.run(detect_all([_as_written(entry) for entry in asked])) if asked else []
    mistakes = []
    for entry, result in zip(asked, found, strict=True):
        if isinstance(result, DetectionError):
            mistakes.append(Mistake(*entry.place_of("type"), _undetected(result)))
        else:
            entry.values["type"] = result.type
    return mistakes


def _as_written(entry: Entry) -> Endpoint:
    endpoint = Endpoint(**entry.values)
    if entry.credential is not None:
        endpoint.set_credential(entry.credential)
    return endpoint


def _can_be_asked(entry: Entry) -> bool:
    """Whether its URL is one; if not, that is the mistake to report."""
    try:
        validation.check_url(_as_written(entry))
    except ValidationError:
        return False
    return True


def _undetected(error: DetectionError) -> str:
    return f"Its type cannot be detected: {error}. Start it, or write its type."
