"""What the pages draw of an endpoint's past: a bar of its last day, and a line of how fast it answered.

Pure: flips and numbers in, shapes and their words out. A drawing never says what its words do not say too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext

from endpoints.pages import sparkline
from endpoints.past import history

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from endpoints.past.history import Flip, Shade, Uptime

DAY: Final = timedelta(days=1)
SEGMENTS: Final = 90
LINE_HEIGHT: Final = 100
# The highest value does not touch the edge.
HEADROOM: Final = 1.15


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbouring segments of one shade; `x` and `width` count segments."""

    x: int
    width: int
    shade: Shade


@dataclass(frozen=True, slots=True)
class Bar:
    """What is drawn of the day until `until`, and what bars.js says of the piece under the pointer."""

    pieces: tuple[Piece, ...]
    uptime: Uptime
    until: datetime

    @property
    def label(self) -> str:
        words = self.uptime.words
        if self.uptime.share is None:
            return gettext("Nothing known of the last 24 h")
        return gettext("{share} up in 24 h").format(share=words)

    @property
    def hours(self) -> int:
        return DAY // timedelta(hours=1)

    @property
    def runs(self) -> str:
        """Such as `12u3d75n`: widths and the first letters of shades, the oldest first."""
        return "".join(f"{piece.width}{piece.shade[0]}" for piece in self.pieces)

    @property
    def shapes(self) -> list[tuple[Shade, str]]:
        """One path for each shade: a page of fifty bars is read often, and is to stay small."""
        paths: dict[Shade, str] = {}
        for piece in self.pieces:
            box = f"M{piece.x} 0h{piece.width}v1h-{piece.width}z"
            paths[piece.shade] = paths.get(piece.shade, "") + box
        return list(paths.items())


@dataclass(frozen=True, slots=True)
class Line:
    """Means of half hours. `path` is empty when there are none; its box is `width` by LINE_HEIGHT."""

    path: str
    width: int
    lowest_ms: int
    highest_ms: int

    @property
    def label(self) -> str:
        if self.lowest_ms == self.highest_ms:
            return gettext("Latency in 24 h: {ms} ms").format(ms=self.lowest_ms)
        words = gettext("Latency in 24 h: {lowest} to {highest} ms")
        return words.format(lowest=self.lowest_ms, highest=self.highest_ms)


@dataclass(frozen=True, slots=True)
class Drawings:
    bar: Bar
    line: Line


def bar(flips: Sequence[Flip], *, at: datetime) -> Bar:
    """The day until `at`."""
    start = at - DAY
    past = history.stretches(flips, start=start, end=at)
    pieces = []
    x = 0
    for shade, group in groupby(history.shades(past, start=start, end=at, count=SEGMENTS)):
        width = len(list(group))
        pieces.append(Piece(x=x, width=width, shade=shade))
        x += width
    return Bar(pieces=tuple(pieces), uptime=history.uptime(past, start=start, end=at), until=at)


def line(seconds: Sequence[float | None]) -> Line:
    known = [value for value in seconds if value is not None]
    top = max(known, default=0.0)
    return Line(
        path=sparkline.path(seconds, height=LINE_HEIGHT, top=top * HEADROOM),
        width=max(1, len(seconds) - 1),
        lowest_ms=max(1, round(min(known, default=0.0) * 1000)),
        highest_ms=max(1, round(top * 1000)),
    )


def drawings(flips: Sequence[Flip], seconds: Sequence[float | None], *, at: datetime) -> Drawings:
    return Drawings(bar=bar(flips, at=at), line=line(seconds))
