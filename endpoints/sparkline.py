"""Lines drawn by the server: numbers in, the `d` of an SVG path out. A missing number is a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def path(values: Sequence[float | None], *, height: float, top: float | None = None) -> str:
    """A line over x = 0, 1, 2, … and whole y from `height` (nothing) up to 0 (`top`, or the largest value).

    A value that stands alone becomes a short dash, or it could not be seen. Empty when there is no value.
    """
    known = [value for value in values if value is not None]
    scale = height / (top or max(known, default=0) or 1)
    parts = []
    for run in runs(values):
        points = [f"{x} {round(height - min(height, value * scale))}" for x, value in run]
        parts.append("M" + " ".join(points) + ("h.5" if len(run) == 1 else ""))
    return "".join(parts)


def runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The values with their places, apart wherever one is missing."""
    found: list[list[tuple[int, float]]] = []
    apart = True
    for place, value in enumerate(values):
        if value is None:
            apart = True
            continue
        if apart:
            found.append([])
        found[-1].append((place, value))
        apart = False
    return found
