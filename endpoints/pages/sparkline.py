"""Lines drawn by the server: numbers in, the `d` of an SVG path out. A missing number is a gap."""

from __future__ import annotations

from itertools import groupby, pairwise
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
        heights = [round(height - min(height, value * scale)) for _, value in run]
        parts.append(f"M{run[0][0]} {heights[0]}{steps(heights) or 'h.5'}")
    return "".join(parts)


def steps(heights: Sequence[int]) -> str:
    """From each point to the next, in as few letters as may be: a page has fifty such lines."""
    found = []
    for change, same in groupby(after - before for before, after in pairwise(heights)):
        count = len(list(same))
        found.append(f"l{count} {change * count}".replace(" -", "-") if change else f"h{count}")
    return "".join(found)


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
