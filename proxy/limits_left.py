"""What is left of the limits of keys and teams, for the people who have them.

Budgets are read from the totals, and the last minute from the rows of requests: so the answer is the same
whichever process gives it. Requests that are still running are in neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db.models import Count, Q, Sum

from ollaproject.wire import clock
from proxy.budgets import spent
from proxy.limits import Limits
from proxy.models import RequestRecord
from proxy.windows import WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.contrib.auth.models import Group

    from proxy.models import ApiKey
    from proxy.windows import Spent

MINUTE: Final = timedelta(seconds=WINDOW_SECONDS)


@dataclass(frozen=True, slots=True)
class Limit:
    """`used` is None for a limit that is not used up, such as the longest answer."""

    what: str
    most: int
    used: int | None

    @property
    def left(self) -> int | None:
        return None if self.used is None else max(0, self.most - self.used)

    @property
    def shown(self) -> int:
        """What a meter shows: no more than all of it."""
        return min(self.most, self.used or 0)


@dataclass(frozen=True, slots=True)
class Whose:
    """A key or a team with what it may use. No limits: it may use what there is."""

    kind: str
    name: str
    limits: tuple[Limit, ...]


def of(keys: Iterable[ApiKey], teams: Iterable[Group]) -> list[Whose]:
    """Two queries, and up to two more for budgets. Keys and teams come with `team__limits` and `limits`."""
    found = [(f"key {key.pk}", "key", key.name, Limits.of(key, settings.OLLA_KEY_LIMITS)) for key in keys]
    found += [
        (
            f"team {team.pk}",
            "team",
            team.name,
            Limits.of(getattr(team, "limits", None), settings.OLLA_TEAM_LIMITS),
        )
        for team in teams
    ]
    budgets = spent([name for name, _, _, limits in found if limits.has_budget], clock.now().date())
    minute = _last_minute(name for name, _, _, limits in found if _counts_minutes(limits))
    return [
        Whose(kind, label, tuple(_limits(limits, budgets.get(name), minute.get(name, (0, 0)))))
        for name, kind, label, limits in found
    ]


def _counts_minutes(limits: Limits) -> bool:
    return limits.requests_per_minute is not None or limits.tokens_per_minute is not None


def _limits(limits: Limits, used: Spent | None, minute: tuple[int, int]) -> Iterator[Limit]:
    requests, tokens = minute
    of_day, of_month = (used.of_day, used.of_month) if used is not None else (0, 0)
    for what, most, so_far in (
        ("Tokens today", limits.tokens_per_day, of_day),
        ("Tokens this month", limits.tokens_per_month, of_month),
        ("Requests in the last minute", limits.requests_per_minute, requests),
        ("Tokens in the last minute", limits.tokens_per_minute, tokens),
        ("Requests at a time", limits.concurrent, None),
        ("Tokens of one answer", limits.max_tokens, None),
    ):
        if most is not None:
            yield Limit(what, most, so_far)


def _last_minute(names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Requests that ended, and the tokens that were counted for them, by subject."""
    ids: dict[str, list[int]] = {"key": [], "team": []}
    for name in names:
        kind, _, number = name.partition(" ")
        ids[kind].append(int(number))
    found: dict[str, tuple[int, int]] = {}
    since = clock.now() - MINUTE
    for kind, some in ids.items():
        if not some:
            continue
        rows = RequestRecord.objects.order_by().filter(at__gte=since, **{f"{kind}_id__in": some})
        counted = rows.values_list(f"{kind}_id").annotate(
            requests=Count("id", filter=Q(limited_by="")), tokens=Sum("charged_tokens")
        )
        found |= {f"{kind} {number}": (requests, tokens) for number, requests, tokens in counted}
    return found
