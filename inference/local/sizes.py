"""Sizes as people read them, without Django: the process that fetches files says them, too."""

from __future__ import annotations

UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def size(count: float) -> str:
    """`5.1 GB`, `93 MB`, `12 kB`."""
    for unit, factor in UNITS:
        if count >= factor:
            number = count / factor
            return f"{number:.1f} {unit}" if unit == "GB" else f"{number:.0f} {unit}"
    return f"{count:.0f} B"
