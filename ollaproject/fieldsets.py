"""Sections of an admin form of which a reader sees a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Iterable


def without(fieldsets: Iterable[tuple[Any, Any]] | None, names: Container[str]) -> list[tuple[Any, Any]]:
    """`fieldsets` as Django's admin has them, but for the fields `names`."""
    return [
        (title, {**options, "fields": [field for field in options["fields"] if field not in names]})
        for title, options in fieldsets or []
    ]
