"""A chart of usage by day: bars that are stacked by model, key or person, drawn by the server as SVG.

Pure: lines of a report in, boxes and words out. What a box shows, its title and the table below say too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ollaproject.wire import numbers
from proxy.reports.usage_report import OTHERS, by_day

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from proxy.reports.usage_report import Asked, Used

# More colours than these nobody tells apart; what is beyond them is shown as one.
SERIES: Final = 6
HEIGHT: Final = 1000
METRICS: Final = ("tokens", "requests", "cost")
NAMELESS: Final = {
    "key": _("no key"),
    "user": _("nobody"),
    "team": _("no team"),
    "model": _("no model"),
    "endpoint": _("none"),
}


@dataclass(frozen=True, slots=True)
class Box:
    """A piece of a day's bar. `y` and `height` are in HEIGHTs of the chart, `series` is its colour."""

    series: int
    y: int
    height: int
    title: str


@dataclass(frozen=True, slots=True)
class Bar:
    day: date
    boxes: tuple[Box, ...]
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Chart:
    """`names` are those of the series, the largest first. `top` is what the full height stands for."""

    bars: tuple[Bar, ...]
    names: tuple[str, ...]
    top: Decimal
    metric: str

    @property
    def empty(self) -> bool:
        return not self.names

    @property
    def first(self) -> date:
        return self.bars[0].day

    @property
    def last(self) -> date:
        return self.bars[-1].day


def amount(line: Used, metric: str) -> Decimal:
    """How much of a metric a line of a report stands for."""
    if metric == "cost":
        return line.cost
    return Decimal(line.tokens if metric == "tokens" else line.counts["requests"])


def name_of(line: Used, group: str) -> str:
    return shown(line.group[group], group)


def shown(name: object, group: str) -> str:
    """The name of a key, a person and so on, or that there was none."""
    return str(name) or str(NAMELESS.get(group, _("none")))


def largest(lines: Sequence[Used], *, group: str, metric: str) -> tuple[str, ...]:
    """The names of a chart's series, of a report by `group`, the largest first."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        name = name_of(line, group)
        sums[name] = sums.get(name, Decimal(0)) + amount(line, metric)
    ranked = sorted((name for name in sums if sums[name]), key=lambda name: (-sums[name], name))
    return tuple(ranked) if len(ranked) <= SERIES else (*ranked[: SERIES - 1], OTHERS)


def chart(lines: Sequence[Used], asked: Asked, names: Sequence[str], *, group: str, metric: str) -> Chart:
    """Of a report by day and `group`, in which none but the `names` are told apart."""
    places = {name: place for place, name in enumerate(names)}
    days = [(day, _amounts(found, places, group, metric)) for day, found in by_day(list(lines), asked)]
    top = max((sum(amounts.values(), Decimal(0)) for _, amounts in days), default=Decimal(0))
    bars = tuple(_bar(day, amounts, names, top, metric) for day, amounts in days)
    return Chart(bars, tuple(names), top, metric)


def _amounts(lines: Sequence[Used], places: Mapping[str, int], group: str, metric: str) -> dict[int, Decimal]:
    found: dict[int, Decimal] = {}
    for line in lines:
        place = places.get(name_of(line, group))
        if place is not None:
            found[place] = found.get(place, Decimal(0)) + amount(line, metric)
    return found


def _bar(day: date, amounts: Mapping[int, Decimal], names: Sequence[str], top: Decimal, metric: str) -> Bar:
    boxes = []
    so_far = Decimal(0)
    for place in sorted(amounts):
        if not amounts[place]:
            continue
        bottom = HEIGHT - round(so_far / top * HEIGHT)
        so_far += amounts[place]
        y = HEIGHT - round(so_far / top * HEIGHT)
        title = f"{day:%Y-%m-%d}, {names[place]}: {in_words(amounts[place], metric)}"
        boxes.append(Box(place, y, max(1, bottom - y), title))
    return Bar(day, tuple(boxes), so_far)


def in_words(number: Decimal, metric: str) -> str:
    """`12,345 tokens`, `3 requests`, `1.25`."""
    if metric == "cost":
        return numbers.decimal(number, 2)
    words = gettext("{number} requests") if metric == "requests" else gettext("{number} tokens")
    return words.format(number=numbers.whole(number))
