"""What was used, summed up as somebody asks: by day, model, endpoint, key, person or team."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Case, F, IntegerField, Q, Sum, Value, When

from ollaproject.wire import clock, roles
from proxy.models import UsageTotal
from proxy.reports.prices import PriceList, cost_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from django.contrib.auth.models import AnonymousUser, User
    from django.db.models import QuerySet

    from proxy.access.key_table import Holder

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400
# What usage can be grouped by: the columns that tell groups apart, and the one that names them.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "day": ("day",),
    "model": ("model",),
    "endpoint": ("endpoint",),
    "key": ("key_id", "key_name"),
    "user": ("user_id", "user_name"),
    "team": ("team_id", "team_name"),
}
# What it can be narrowed down to, and by which column.
FILTERS: Final[Mapping[str, str]] = {
    "model": "model",
    "endpoint": "endpoint",
    "key": "key_name",
    "user": "user_name",
    "team": "team_name",
}
COUNTS: Final = (
    "requests",
    "failures",
    "abandoned",
    "limited",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "bytes_in",
    "bytes_out",
)
TIMES: Final = ("duration_ms", "ttft_ms", "begun")
# What stands for all groups that are not told apart.
OTHERS: Final = "…"
NO_PRICE: Final = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about usage. Days are UTC, both included; `groups` and `filters` are words of the above."""

    since: date
    until: date
    groups: tuple[str, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def last(cls, days: int, *groups: str, **filters: str) -> Asked:
        """Of today and the days before it, `days` in all."""
        today = clock.now().date()
        return cls(today - timedelta(days=days - 1), today, groups, filters)


@dataclass(slots=True)
class Used:
    """One line of a report. `group` has the value of each group; sums are over its requests."""

    group: dict[str, Any]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    duration_ms: float = 0.0
    ttft_ms: float = 0.0
    begun: int = 0
    cost: Decimal = Decimal(0)

    @property
    def tokens(self) -> int:
        return self.counts["prompt_tokens"] + self.counts["completion_tokens"]

    @property
    def mean_ttft_ms(self) -> float | None:
        """Over the answers that began."""
        return self.ttft_ms / self.begun if self.begun else None


def report(
    asked: Asked,
    among: QuerySet[UsageTotal],
    prices: PriceList | None = None,
    *,
    apart: tuple[str, Collection[str]] | None = None,
) -> list[Used]:
    """One line a group, by one query. In the order of days where they are told apart, else most tokens first.

    `among` says whose usage may be seen (`visible_to`). `apart` is a group and which of its names get lines
    of their own: the others are summed up together, as OTHERS.
    """
    prices = current_prices(asked, among) if prices is None else prices
    found: dict[tuple[Any, ...], Used] = {}
    for row in _rows(asked, _narrowed(asked, among), prices.models or {}, apart):
        key = tuple(row[column] for name in asked.groups for column in _columns(name, apart))
        line = found.get(key)
        if line is None:
            line = found[key] = Used({name: row[_column(name, apart)] for name in asked.groups})
        counts = {name: row[f"{name}_sum"] for name in COUNTS}
        for name, count in counts.items():
            line.counts[name] += count
        line.duration_ms += row["duration_ms_sum"]
        line.ttft_ms += row["ttft_ms_sum"]
        line.begun += row["begun_sum"]
        if row.get("price", NO_PRICE) != NO_PRICE:
            line.cost += cost_at(prices.rows[row["price"]], counts)
    lines = sorted(found.values(), key=lambda line: (-line.tokens, -line.counts["requests"]))
    return sorted(lines, key=lambda line: line.group["day"]) if "day" in asked.groups else lines


def current_prices(asked: Asked, among: QuerySet[UsageTotal]) -> PriceList:
    """The prices of now, of the models that were used. Two queries, one where there are no prices."""
    prices = PriceList.current()
    models = _narrowed(asked, among).values_list("model", flat=True).distinct() if prices else ()
    return prices.for_models(models)


def whole(lines: list[Used]) -> Used:
    """The sum of a report's lines."""
    total = Used({})
    for line in lines:
        for name, count in line.counts.items():
            total.counts[name] += count
        total.duration_ms += line.duration_ms
        total.ttft_ms += line.ttft_ms
        total.begun += line.begun
        total.cost += line.cost
    return total


def by_day(lines: list[Used], asked: Asked) -> Iterator[tuple[date, list[Used]]]:
    """Every day of the question with its lines, also those without any."""
    days = defaultdict(list)
    for line in lines:
        days[line.group["day"]].append(line)
    for number in range((asked.until - asked.since).days + 1):
        day = asked.since + timedelta(days=number)
        yield day, days[day]


def visible_to(user: User | AnonymousUser) -> QuerySet[UsageTotal]:
    """What a person may see: their own, as a lead also their teams', with permission all."""
    everything = UsageTotal.objects.all()
    if roles.sees_all_usage(user):
        return everything
    own = Q(pk__in=())
    if user.is_authenticated:
        own |= Q(user_id=user.pk)
        own |= Q(team_id__in=list(roles.led_by(user).values_list("pk", flat=True)))
    return everything.filter(own)


def own(user: User | AnonymousUser, *, key: Holder | None = None) -> QuerySet[UsageTotal]:
    """What a person has used. For a key that does not act for its owner, what was used with it: others may
    hold it too, such as the lead who made it.
    """
    if key is not None:
        return UsageTotal.objects.filter(key_id=key.id)
    return UsageTotal.objects.filter(user_id=user.pk) if user.pk else UsageTotal.objects.none()


def _narrowed(asked: Asked, among: QuerySet[UsageTotal]) -> QuerySet[UsageTotal]:
    narrowed = {FILTERS[name]: value for name, value in asked.filters.items()}
    return among.filter(day__gte=asked.since, day__lte=asked.until, **narrowed).order_by()


def _rows(
    asked: Asked,
    days: QuerySet[UsageTotal],
    price_of: Mapping[int, Sequence[str]],
    apart: tuple[str, Collection[str]] | None,
) -> QuerySet[UsageTotal, dict[str, Any]]:
    """By group and, where there are prices, by price: there are few, where models may be many."""
    columns = [column for name in asked.groups for column in _columns(name, apart)]
    if apart is not None:
        days = days.annotate(apart=_apart(*apart))
    if price_of:
        whens = [When(model__in=models, then=Value(place)) for place, models in price_of.items()]
        days = days.annotate(price=Case(*whens, default=Value(NO_PRICE), output_field=IntegerField()))
        columns.append("price")
    sums = {f"{name}_sum": Sum(name) for name in (*COUNTS, *TIMES)}
    found: QuerySet[UsageTotal, dict[str, Any]] = days.values(*dict.fromkeys(columns))
    return found.annotate(**sums)


def _columns(group: str, apart: tuple[str, Collection[str]] | None) -> tuple[str, ...]:
    return ("apart",) if apart is not None and group == apart[0] else GROUPS[group]


def _column(group: str, apart: tuple[str, Collection[str]] | None) -> str:
    """The column that names a group."""
    return _columns(group, apart)[-1]


def _apart(group: str, names: Collection[str]) -> Case:
    column = GROUPS[group][-1]
    return Case(When(**{f"{column}__in": list(names)}, then=F(column)), default=Value(OTHERS))
