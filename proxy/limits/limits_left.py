"""What is left of the limits of keys, people and teams, for whom they concern.

Budgets are read from the totals, and the last minute from the rows of requests: so the answer is the same
whichever process gives it. Requests that are still running are in neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from django.conf import settings
from django.db.models import Count, Q, Sum

from ollaproject.wire import clock
from proxy.access.key_table import person_from, team_from
from proxy.limits.budgets import COLUMNS, by_kind, spent
from proxy.limits.limits import Limits
from proxy.limits.windows import WINDOW_SECONDS
from proxy.models import RequestRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.contrib.auth.models import Group, User

    from proxy.limits.windows import Spent
    from proxy.models import ApiKey

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
    """A key, a person or a team with what it may use. No limits: what there is; no models: all."""

    kind: str
    name: str
    limits: tuple[Limit, ...]
    models: tuple[str, ...] = ()


class _Subject(NamedTuple):
    kind: str
    id: int
    label: str
    limits: Limits
    models: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.id}"


def of(keys: Iterable[ApiKey], teams: Iterable[Group], user: User | None = None) -> list[Whose]:
    """A query for each kind of subject, and one more for its budgets. Teams come with their `limits`.

    A `user` is left out who has no limits beside those of the keys.
    """
    found = [
        _Subject("key", key.pk, key.name, Limits.of(key, settings.OLLA_KEY_LIMITS), tuple(key.allowed_models))
        for key in keys
    ]
    if (shared := person_from(user)) and user and (shared.limits or shared.models):
        found.append(_Subject("person", user.pk, user.get_username(), shared.limits, shared.models.patterns))
    found.extend(
        _Subject("team", team.id, team.name, team.limits, team.models.patterns)
        for team in map(team_from, teams)
        if team is not None
    )
    budgets = spent([each.name for each in found if each.limits.has_budget], clock.now().date())
    minute = _last_minute(each.name for each in found if _counts_minutes(each.limits))
    return [
        Whose(
            each.kind,
            each.label,
            tuple(_limits(each.limits, budgets.get(each.name), minute.get(each.name, (0, 0)))),
            each.models,
        )
        for each in found
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
    found: dict[str, tuple[int, int]] = {}
    since = clock.now() - MINUTE
    for kind, some in by_kind(names).items():
        column = COLUMNS[kind]
        rows = RequestRecord.objects.order_by().filter(at__gte=since, **{f"{column}__in": some})
        counted = rows.values_list(column).annotate(
            requests=Count("id", filter=Q(limited_by="")), tokens=Sum("charged_tokens")
        )
        found |= {f"{kind} {number}": (requests, tokens) for number, requests, tokens in counted}
    return found
