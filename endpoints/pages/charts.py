"""The latency of an endpoint's checks as numbers for a chart, from the sums of days, hours and minutes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict

from django.http import Http404, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import patch_cache_control
from django.views.decorators.http import require_safe

from endpoints.choices import Span
from endpoints.models import CheckSummary, Endpoint, HealthCheck
from ollaproject.wire.clock import now
from ollaproject.wire.roles import needs, sees_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from ollaproject.wire.roles import View

# What a chart may show: how long, and by which sums, so that it has about as many points as it has room for.
SPANS: Final = {
    "24h": (timedelta(days=1), Span.MINUTE, 5),
    "7d": (timedelta(days=7), Span.HOUR, 1),
    "30d": (timedelta(days=30), Span.HOUR, 4),
    "90d": (timedelta(days=90), Span.DAY, 1),
}
COARSEST_FIRST: Final = (Span.DAY, Span.HOUR, Span.MINUTE)
FIGURES: Final = ("begins_at", "latency_sum_seconds", "answered", "latency_max_seconds")
MS_PER_SECOND: Final = 1000

Sums = tuple[float, int, float]  # of seconds, of how many checks, and the longest


class Chart(TypedDict):
    """Columns of equal length: Unix time, and milliseconds for each line, None where nothing is known."""

    at: list[int]
    lines: list[list[float | None]]


def chart_view(numbers: Callable[[Endpoint, str], Chart]) -> View:
    """The view that gives these numbers of an endpoint, for a span of SPANS, to whoever may see the fleet."""

    @require_safe
    @needs(sees_fleet)
    def view(request: HttpRequest, endpoint_id: int) -> HttpResponse:
        span = request.GET.get("span", "24h")
        if span not in SPANS:
            raise Http404
        response = JsonResponse(numbers(get_object_or_404(Endpoint, pk=endpoint_id), span))
        patch_cache_control(response, private=True, max_age=30)
        return response

    return view


def mean_and_most(endpoint: Endpoint, span: str) -> Chart:
    """The mean and the longest of each step, up to now. At most four queries."""
    length, kind, joined = SPANS[span]
    step = kind * joined
    begin = int((now() - length).timestamp()) // step
    sums: dict[int, Sums] = {}
    for begins_at, total, answered, most in _sums(endpoint, kind, since=now() - length):
        place = int(begins_at.timestamp()) // step
        before = sums.get(place, (0.0, 0, 0.0))
        sums[place] = before[0] + total, before[1] + answered, max(before[2], most)
    places = range(begin, int(now().timestamp()) // step + 1)
    found = [sums.get(place) for place in places]
    return {
        "at": [place * step for place in places],
        "lines": [
            [rounded(each[0] / each[1]) if each and each[1] else None for each in found],
            [rounded(each[2]) if each and each[1] else None for each in found],
        ],
    }


def _sums(endpoint: Endpoint, kind: Span, *, since: datetime) -> Iterator[tuple[datetime, *Sums]]:
    """Begin, sum, count and longest of what was answered: by `kind`, then what is not summed up by it yet.

    An hour is summed up when it is over, so the rest comes from minutes, and theirs from single checks.
    """
    rows: QuerySet[Any]
    for span in (each for each in COARSEST_FIRST if each <= kind):
        rows = CheckSummary.objects.filter(endpoint=endpoint, span=span, begins_at__gte=since)
        for begins_at, total, answered, most in rows.order_by("begins_at").values_list(*FIGURES):
            yield begins_at, total, answered, most or 0.0
            since = begins_at + timedelta(seconds=span)
    rows = HealthCheck.objects.filter(endpoint=endpoint, at__gte=since, latency_seconds__isnull=False)
    for at, seconds in rows.values_list("at", "latency_seconds"):
        yield at, seconds or 0.0, 1, seconds or 0.0


def rounded(seconds: float) -> float:
    return round(seconds * MS_PER_SECOND, 1)


latency = chart_view(mean_and_most)
