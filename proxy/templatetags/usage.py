"""Words and numbers of the page of usage."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django import template
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ollaproject.wire import numbers
from proxy.reports.usage_report import OTHERS

if TYPE_CHECKING:
    from proxy.limits.limits_left import Limit

register = template.Library()

GROUPS: Final = {
    "day": _("Day"),
    "model": _("Model"),
    "endpoint": _("Endpoint"),
    "key": _("Key"),
    "user": _("Person"),
    "team": _("Team"),
}
METRICS: Final = {"tokens": _("Tokens"), "requests": _("Requests"), "cost": _("Cost")}
# From here on a meter warns.
MOSTLY: Final = 0.8
THOUSAND: Final = 1000
THREE_DIGITS: Final = 3
CENT: Final = Decimal("0.01")
UNITS: Final = ("", "k", "M", "G", "T")


@register.simple_tag
def group_word(group: str) -> str:
    return str(GROUPS[group])


@register.simple_tag
def choice_word(kind: str, word: Any) -> str:
    if kind == "days":
        return f"{word} d"
    return str((GROUPS if kind == "group" else METRICS)[word])


@register.filter
def series_word(name: str) -> str:
    return gettext("all others") if name == OTHERS else name


@register.filter
def short(count: int) -> str:
    """`950`, `12.3k`, `4.56M`."""
    number, unit = float(count), 0
    while round(number) >= THOUSAND and unit < len(UNITS) - 1:
        number, unit = number / THOUSAND, unit + 1
    places = max(0, THREE_DIGITS - len(str(int(number))))
    return f"{numbers.shortened(number, places)}{UNITS[unit]}" if unit else str(count)


@register.filter
def money(cost: Decimal) -> str:
    """Without a currency: prices have none."""
    return numbers.decimal(cost, 2 if cost == 0 or cost >= CENT else 4)


@register.filter
def mostly(limit: Limit) -> int:
    return int(limit.most * MOSTLY)
