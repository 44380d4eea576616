"""Sums checks up per minute, minutes per hour, and hours per day, so that years of history stay small.

A period is summed up once, some time after its end: a check is stored when it ends, under the moment at which
it began. Doing it again changes nothing, so two workers at once do no harm.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, Max, Min, Q, Sum
from django.db.models.functions import Trunc

from endpoints.choices import Span
from endpoints.health.rules import FAILURES
from endpoints.models import CheckSummary, HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.models import QuerySet

SETTLED_AFTER: Final = timedelta(minutes=2)
# So many periods are summed up in one statement: what a worker missed while it was down comes in pieces.
PERIODS_AT_ONCE: Final = 60
BATCH_ROWS: Final = 500
FIGURES: Final = (
    "count",
    "failures",
    "answered",
    "latency_sum_seconds",
    "latency_min_seconds",
    "latency_max_seconds",
)


def roll_up(at: datetime) -> int:
    """Sum up every period that has settled at `at`. Returns how many rows were written."""
    return sum(_roll_up(span, before=period(at - SETTLED_AFTER, span)) for span in Span)


def period(moment: datetime, span: Span) -> datetime:
    """When the minute, hour or day (in UTC) of a moment began."""
    return datetime.fromtimestamp(int(moment.timestamp()) // span * span, UTC)


def _roll_up(span: Span, *, before: datetime) -> int:
    written = 0
    newest = CheckSummary.objects.filter(span=span).aggregate(newest=Max("begins_at"))["newest"]
    begin = newest + timedelta(seconds=span) if newest else None
    while (begin := _first(span, since=begin, before=before)) is not None:
        end = min(before, begin + timedelta(seconds=PERIODS_AT_ONCE * span))
        rows = [CheckSummary(span=span, **figures) for figures in _sums(span, begin=begin, end=end)]
        CheckSummary.objects.bulk_create(
            rows,
            batch_size=BATCH_ROWS,
            update_conflicts=True,
            unique_fields=["endpoint", "span", "begins_at"],
            update_fields=FIGURES,
        )
        written += len(rows)
        begin = end
    return written


def _first(span: Span, *, since: datetime | None, before: datetime) -> datetime | None:
    """The first period that has something to sum up, None when there is none."""
    source, moment = _source(span)
    rows = source.filter(**{f"{moment}__lt": before})
    if since is not None:
        rows = rows.filter(**{f"{moment}__gte": since})
    first = rows.aggregate(first=Min(moment))["first"]
    return None if first is None else period(first, span)


def _source(span: Span) -> tuple[QuerySet[Any], str]:
    """What a span is summed up from, and its column of time."""
    if span == Span.MINUTE:
        return HealthCheck.objects.order_by(), "at"
    finer = Span.MINUTE if span == Span.HOUR else Span.HOUR
    return CheckSummary.objects.filter(span=finer).order_by(), "begins_at"


def _sums(span: Span, *, begin: datetime, end: datetime) -> Iterable[dict[str, Any]]:
    source, moment = _source(span)
    within = source.filter(**{f"{moment}__gte": begin, f"{moment}__lt": end})
    # The column of the result is named otherwise than that of the source, which the filter needs.
    periods = within.values("endpoint_id", start=Trunc(moment, span.label, tzinfo=UTC))
    sums = periods.annotate(**(_of_checks() if span == Span.MINUTE else _of_summaries()))
    for row in sums:
        figures = {name: row[f"new_{name}"] for name in FIGURES}
        yield {"endpoint_id": row["endpoint_id"], "begins_at": row["start"], **figures}


def _of_checks() -> dict[str, Any]:
    return {
        "new_count": Count("pk"),
        "new_failures": Count("pk", filter=Q(status__in=FAILURES)),
        "new_answered": Count("latency_seconds"),
        "new_latency_sum_seconds": Sum("latency_seconds", default=0.0),
        "new_latency_min_seconds": Min("latency_seconds"),
        "new_latency_max_seconds": Max("latency_seconds"),
    }


def _of_summaries() -> dict[str, Any]:
    kinds: dict[str, Any] = {"latency_min_seconds": Min, "latency_max_seconds": Max}
    return {f"new_{name}": kinds.get(name, Sum)(name) for name in FIGURES}
