"""What keys, people and teams with a budget have used of it so far, from the totals: no restart forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db.models import Q, Sum

from ollaproject.wire import clock
from proxy.limits.windows import SECONDS_PER_DAY, Spent
from proxy.models import UsageTotal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


# Where the rows of usage and of requests name a subject, by the kind that its name begins with.
COLUMNS: Final = {"key": "key_id", "person": "user_id", "team": "team_id"}


def spent(names: Iterable[str], today: date) -> dict[str, Spent]:
    """By the names of subjects, such as `key 3` or `team 4`, of those that used anything this month."""
    found: dict[str, Spent] = {}
    for kind, ids in by_kind(names).items():
        found |= _spent(kind, ids, today)
    return found


def by_kind(names: Iterable[str]) -> dict[str, list[int]]:
    """The ids of subjects by their kind."""
    ids: dict[str, list[int]] = {}
    for name in names:
        kind, _, number = name.partition(" ")
        ids.setdefault(kind, []).append(int(number))
    return ids


def _spent(kind: str, ids: list[int], today: date) -> dict[str, Spent]:
    column = COLUMNS[kind]
    rows = UsageTotal.objects.order_by().filter(day__gte=today.replace(day=1), **{f"{column}__in": ids})
    sums = rows.values_list(column).annotate(
        of_day=Sum("charged_tokens", filter=Q(day=today), default=0), of_month=Sum("charged_tokens")
    )
    day = int(clock.now().timestamp()) // SECONDS_PER_DAY
    return {f"{kind} {number}": Spent(day, of_day, of_month) for number, of_day, of_month in sums}
