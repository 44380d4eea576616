"""What keys and teams with a budget have used of it so far, from the totals: a restart forgets nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q, Sum

from ollaproject.wire import clock
from proxy.models import UsageTotal
from proxy.windows import SECONDS_PER_DAY, Spent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from proxy.key_table import Holder


def spent_by(holders: Iterable[Holder]) -> dict[str, Spent]:
    """By the names of the subjects, of those that have a budget."""
    named = {each.name for holder in holders for each in holder.subjects if each.limits.has_budget}
    return spent(named, clock.now().date())


def spent(names: Iterable[str], today: date) -> dict[str, Spent]:
    """By the names of subjects, `key 3` or `team 4`, of those that have used anything this month."""
    found: dict[str, Spent] = {}
    for kind in ("key", "team"):
        ids = [int(name.removeprefix(f"{kind} ")) for name in names if name.startswith(f"{kind} ")]
        if ids:
            found |= _spent(kind, ids, today)
    return found


def _spent(kind: str, ids: list[int], today: date) -> dict[str, Spent]:
    rows = UsageTotal.objects.order_by().filter(day__gte=today.replace(day=1), **{f"{kind}_id__in": ids})
    sums = rows.values_list(f"{kind}_id").annotate(
        of_day=Sum("charged_tokens", filter=Q(day=today), default=0), of_month=Sum("charged_tokens")
    )
    day = int(clock.now().timestamp()) // SECONDS_PER_DAY
    return {f"{kind} {number}": Spent(day, of_day, of_month) for number, of_day, of_month in sums}
