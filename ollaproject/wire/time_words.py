"""Lengths of time as people read them, on pages and in terminals. `durations` has what operators write."""

from __future__ import annotations

from typing import Final

from django.utils.formats import number_format
from django.utils.translation import gettext

from ollaproject.wire.durations import parts_of

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


def span(seconds: float) -> str:
    """A length of time in its two largest units: `8 s`, `4 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return _two_units(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    return _two_units(whole // DAY, gettext("d"), whole % DAY // HOUR, "h")


def exact_span(seconds: float) -> str:
    """What an operator has set, to the last digit: `1 min 30 s`, `500 ms`."""
    return " ".join(
        f"{number_format(number, use_l10n=True)} {'min' if unit == 'm' else unit}"
        for number, unit in parts_of(seconds)
    )


def _two_units(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
