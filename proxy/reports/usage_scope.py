"""Whose usage a page shows: one's own, a team's that one leads, or everyone's; and what is asked about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.http import Http404

from ollaproject.wire import clock, roles
from proxy.models import BudgetReached, UsageTotal
from proxy.reports.usage_chart import METRICS
from proxy.reports.usage_report import FILTERS, MAX_DAYS, Asked

if TYPE_CHECKING:
    from django.contrib.auth.models import Group, User
    from django.db.models import QuerySet
    from django.http import QueryDict

MINE: Final = "mine"
ALL: Final = "all"
SPANS: Final = (7, 30, 90, 365)
DEFAULT_SPAN: Final = 30
# What a chart may be stacked by, the usual first.
OF_MINE: Final = ("model", "key", "endpoint")
OF_MANY: Final = ("user", "model", "key", "team", "endpoint")


@dataclass(frozen=True, slots=True)
class Scope:
    """`word` stands in URLs: `mine`, `all`, or a team's id."""

    word: str
    name: str
    team: Group | None = None

    @property
    def is_mine(self) -> bool:
        return self.word == MINE

    @property
    def groups(self) -> tuple[str, ...]:
        return OF_MINE if self.is_mine else OF_MANY

    def totals(self, user: User) -> QuerySet[UsageTotal]:
        if self.is_mine:
            return UsageTotal.objects.filter(user_id=user.pk)
        return UsageTotal.objects.filter(team_id=self.team.pk) if self.team else UsageTotal.objects.all()

    def budgets_reached(self, user: User, since: date) -> QuerySet[BudgetReached]:
        """The notices since a day, the newest first."""
        found = BudgetReached.objects.filter(at__date__gte=since)
        if self.is_mine:
            own = found.filter(kind="key", subject_id__in=[key.pk for key in user.api_keys.all()])
            return own | found.filter(kind="person", subject_id=user.pk)
        if self.team is None:
            return found
        keys = list(self.team.api_keys.values_list("pk", flat=True))
        return found.filter(kind="team", subject_id=self.team.pk) | found.filter(
            kind="key", subject_id__in=keys
        )


def scopes(user: User) -> list[Scope]:
    """What a person may look at. The first is their own."""
    found = [Scope(MINE, "Mine")]
    found += [Scope(str(team.pk), team.name, team) for team in roles.led_by(user).order_by("name")]
    if roles.sees_all_usage(user):
        found.append(Scope(ALL, "Everyone"))
    return found


@dataclass(frozen=True, slots=True)
class View:
    """A page's question: whose, of how many days, stacked by what, and how much of what."""

    scope: Scope
    asked: Asked
    days: int
    by: str
    metric: str

    def url(self, **changes: Any) -> str:
        """The query of a URL for this question with changes, without `?`. None leaves one out."""
        words: dict[str, Any] = {
            "of": self.scope.word,
            "days": self.days,
            "by": self.by,
            "show": self.metric,
            **self.asked.filters,
        }
        return urlencode({name: value for name, value in (words | changes).items() if value is not None})


def read(query: QueryDict, available: list[Scope]) -> View:
    """Whatever makes no sense is the usual. Raises Http404 for usage that this person may not see."""
    word = query.get("of", MINE)
    scope = next((each for each in available if each.word == word), None)
    if scope is None:
        raise Http404
    days = int(text) if (text := query.get("days", "")).isdecimal() and len(text) < len("10000") else 0
    days = days if 0 < days <= MAX_DAYS else DEFAULT_SPAN
    by = query.get("by", "")
    metric = query.get("show", "")
    filters = {name: word for name in FILTERS if (word := query.get(name, ""))}
    today = clock.now().date()
    by = by if by in scope.groups else scope.groups[0]
    asked = Asked(today - timedelta(days=days - 1), today, ("day", by), filters)
    return View(scope, asked, days, by, metric if metric in METRICS else METRICS[0])
