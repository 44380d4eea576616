"""Numbers as people read them, in their language: `1,234.5` is `1.234,5` in German."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.formats import number_format

from ollaproject.wire import sizes

if TYPE_CHECKING:
    from decimal import Decimal


def whole(number: Decimal | float) -> str:
    """`12,345`; what is behind the point is left out."""
    return number_format(str(int(number)), use_l10n=True, force_grouping=True)


def decimal(number: Decimal | float, places: int) -> str:
    """`1,234.50`, rounded to so many places."""
    return number_format(f"{number:.{places}f}", use_l10n=True, force_grouping=True)


def shortened(number: Decimal | float, places: int) -> str:
    """The same without zeros at its end: `98.5`, `100`."""
    text = f"{number:.{places}f}"
    return number_format(text.rstrip("0").rstrip(".") if "." in text else text, use_l10n=True)


def size(count: float) -> str:
    """`5.1 GB`, as `sizes` has it."""
    number, _space, unit = sizes.size(count).partition(" ")
    return f"{number_format(number, use_l10n=True)} {unit}"
